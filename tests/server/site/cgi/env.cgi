#!/bin/sh
# Answers with what the server told the script about the request, sorted.
# Left out is what two servers never share: ports of connections, server addresses,
# HTTP_CONNECTION, which belongs to a connection and not to a request, BACKHAND_VIA, and what
# mod_ssl tells of a connection.
# The body is read first: httpd may reset the answer of a script that leaves it unread.
cat > /dev/null
printf 'Content-Type: text/plain\n\n'
env | LC_ALL=C sort | grep -E '^(AUTH_TYPE|BODY|CONTENT_(LENGTH|TYPE)|CONTEXT_[A-Z_]+|DOCUMENT_ROOT|GATEWAY_INTERFACE|HTTPS|HTTP_[A-Z_]+|PATH_(INFO|TRANSLATED)|QUERY_STRING|REDIRECT_[A-Z_]+|REMOTE_(ADDR|HOST|USER)|REQUEST_[A-Z]+|SCRIPT_[A-Z]+|SERVER_(ADMIN|NAME|PORT|PROTOCOL|SIGNATURE|SOFTWARE))=' |
    grep -Ev '^(HTTP_CONNECTION|REDIRECT_BACKHAND_VIA|REDIRECT_SSL_[A-Z_]+)='
