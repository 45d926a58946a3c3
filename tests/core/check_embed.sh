#!/bin/sh
# The example that embeds everything in one process does what it says.
out=$(timeout 60 "$1/examples/embed" 2>&1)
code=$?
if [ "$code" = 0 ] && printf '%s\n' "$out" | grep -q 'the key was seen in RAM'; then
    echo "ok embed"
else
    echo "not ok embed exit status $code: $out"
fi
