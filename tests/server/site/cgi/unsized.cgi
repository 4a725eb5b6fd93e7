#!/bin/sh
# Answers without Content-Length, with a pause, so that httpd sends the parts as they come.
printf 'Content-Type: text/plain\n\nfirst part\n'
sleep 0.1
printf 'second part\n'
