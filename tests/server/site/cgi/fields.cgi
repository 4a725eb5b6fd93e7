#!/bin/sh
# A response head of 30 KiB.
printf 'Content-Type: text/plain\nContent-Length: 5\n'
field=1
while [ "$field" -le 100 ]; do
    printf 'X-Field-%s: %0300d\n' "$field" "$field"
    field=$((field + 1))
done
printf '\ndone\n'
