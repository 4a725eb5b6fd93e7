#!/bin/sh
# Who the client is, its port included.
printf 'Content-Type: text/plain\n\n%s %s %s\n' "$REMOTE_ADDR" "$REMOTE_PORT" "${HTTPS:-off}"
