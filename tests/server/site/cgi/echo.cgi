#!/bin/sh
# Answers with the request's body, byte for byte.
# httpd hands over the whole body before it reads the answer, so it must be kept first.
copy=$(mktemp) && trap 'rm -f "$copy"' EXIT
cat > "$copy"
printf 'Content-Type: application/octet-stream\nContent-Length: %s\nX-Method: %s\n\n' \
    "$(stat -c %s "$copy")" "$REQUEST_METHOD"
cat "$copy"
