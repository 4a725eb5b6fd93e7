#!/bin/sh
# A status line, a field that is there twice, and an order of its own.
printf 'Status: 201 Freshly Made\n'
printf 'Set-Cookie: first=1; Path=/\nX-Between: yes\nSet-Cookie: second=2; Path=/; HttpOnly\n'
printf 'Content-Type: text/plain\nContent-Length: 5\n\nmade\n'
