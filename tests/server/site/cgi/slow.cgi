#!/bin/sh
# A few hundredths of a second of waiting.
sleep 0.03
printf 'Content-Type: text/plain\nContent-Length: 5\n\nslow\n'
