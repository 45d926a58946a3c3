#!/bin/sh
# Prints docs/topology.md with its reference made anew: sh tools/reference.sh VMSIG
set -eu
sed '/^<!-- What follows is written by `make docs`/q' docs/topology.md
echo
"$1" check --reference
