#!/bin/sh
# A few hundred random kills under load: nothing lost, doubled, out of order or left over. `make chaos` is the long form.
set -u
build=$1
log=$build/chaos.log

"$build/tests/chaos/prog_chaos" "$build" --kills 300 --seed "${SEED:-1}" >"$log" 2>&1
code=$?
last=$(tail -n 1 "$log")
case "$code $last" in
"0 "*" kills: 0 lost, 0 duplicated, 0 reordered, 0 leaked") echo "ok random-kills # $last" ;;
*)
    echo "not ok random-kills exit code $code: $last"
    cat "$log"
    ;;
esac
