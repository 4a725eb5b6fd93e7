#!/bin/sh
# The name in the client's certificate.
printf 'Content-Type: text/plain\n\n%s\n' "${SSL_CLIENT_S_DN:-nobody}"
