#!/bin/sh
# Answers with the status the query asks for, spaces written as +.
status=$(printf '%s' "$QUERY_STRING" | tr + ' ')
case $status in
204* | 304*) printf 'Status: %s\n\n' "$status" ;;
*) printf 'Status: %s\nContent-Type: text/plain\nContent-Length: 7\n\nanswer\n' "$status" ;;
esac
