#!/bin/sh
# A few failing system calls, by the seed; `make faults` tries them all.
exec python3 -B "$(dirname "$0")/faults.py" "$1" --sample "${FAULTS:-6}" --seed "${SEED:-1}"
