#!/bin/sh
# Text that a second pass of the includes filter would take for a directive.
printf 'Content-Type: text/html\n\n'
printf '<!--''#echo var="DOCUMENT_URI" --> loaf\n'
