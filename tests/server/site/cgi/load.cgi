#!/bin/sh
# An application that uses the cluster's own field names.
printf 'Content-Type: text/plain\nBackhand-Load: 18446744073709551615 18446744073709551615\n'
printf 'Backhand-Proxied: 10.9.9.9\nContent-Length: 3\n\nok\n'
