#!/bin/sh
# An application that knows ranges itself.
printf 'Status: 206 Partial Content\nContent-Type: text/plain\nContent-Range: bytes 2-4/10\nContent-Length: 3\n\ncde'
