#!/bin/sh
# Not a CGI response.
printf 'no header at all'
