#!/bin/sh
# Header fields of an application that has its own ideas.
printf 'Content-Type: text/html\nServer: Own/1.0\nDate: Wed, 01 Jan 2020 00:00:00 GMT\n'
printf 'Vary: X-One\nVary: X-Two\nX-Empty:\nX-Spaced:    wide   apart   \nX-Quoted: "a, b"; c=\\"\n'
printf 'Via: 1.0 its.proxy\nWarning: 199 - "odd"\nLink: </a.css>; rel=preload, </b.js>; rel=preload\nLink: </c.png>\n'
printf 'ETag: W/"odd"\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\nAge: 17\nCache-Control: no-store\n'
printf 'Content-Language: en\nContent-Language: de\nContent-Location: /elsewhere\nX-Letters: \303\244\344\n'
printf 'WWW-Authenticate: Basic realm="odd"\nAccept-Ranges: none\nAllow: BREW\nRetry-After: 5\n'
printf '\n<title>odd</title>\n'
