#!/bin/sh
# Sends the client, or for a path of this site the server itself, to where the query says.
printf 'Location: %s\n\n' "$QUERY_STRING"
