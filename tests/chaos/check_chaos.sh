#!/bin/sh
# A few hundred random kills under load, of which some while the control has rings: nothing lost, doubled, out of order or
# left over. `make chaos` is the long form.
set -u
build=$1

run() { # NAME KILLS ARGS...
    name=$1 kills=$2 log=$build/chaos-$1.log
    shift 2
    "$build/tests/chaos/prog_chaos" "$build" --kills "$kills" --seed "${SEED:-1}" "$@" >"$log" 2>&1
    code=$?
    last=$(tail -n 1 "$log")
    case "$code $last" in
    "0 "*" kills: 0 lost, 0 duplicated, 0 reordered, 0 leaked") echo "ok $name # $last" ;;
    *)
        echo "not ok $name exit code $code: $last"
        cat "$log"
        ;;
    esac
}

run random-kills 200
run random-kills-rings 100 --rings
