#!/bin/sh
printf 'Content-Type: text/plain\nContent-Length: 12\n\ntwelve bytes'
