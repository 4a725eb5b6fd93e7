#!/bin/sh
# Answers with the address of the server that runs it.
printf 'Content-Type: text/plain\n\n%s\n' "$SERVER_ADDR"
