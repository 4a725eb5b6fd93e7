#!/bin/sh
# Waits until the test opens the gate named in the query, then answers.
# With "half-" before its name, half the answer is sent before the wait.
# Sixty seconds are the limit, so that no script outlives a test that failed.
gate=$QUERY_STRING
echo "$$" >> "$GATES/$gate.waiting"
# httpd may reset the answer of a script that leaves the request's body unread.
cat > /dev/null
case $gate in
half-*) printf 'Content-Type: text/plain\n\nbefore the gate\n' ;;
esac
rounds=0
while [ ! -e "$GATES/$gate" ] && [ "$rounds" -lt 1200 ]; do
    sleep 0.05
    rounds=$((rounds + 1))
done
case $gate in
half-*) ;;
*) printf 'Content-Type: text/plain\n\n' ;;
esac
printf 'after the gate\n'
