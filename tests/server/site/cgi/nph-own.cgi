#!/bin/sh
# Speaks HTTP itself: the server passes on what it says, byte for byte.
printf '%s 202 My Own Words\r\n' "$SERVER_PROTOCOL"
printf 'Content-Type: text/plain\r\nX-Own: yes\r\nSet-Cookie: own=1\r\n\r\nspoken without help\n'
