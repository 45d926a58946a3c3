#!/bin/sh
# Many random kills as a series of runs, each with a seed of its own, and their sum.
#   sh tests/chaos/series.sh BUILD KILLS SEED MINUTES
# Run i has seed SEED + i and at most 5000 kills; its words are kept in BUILD/chaos/SEED.KILLS.log. A run that is there,
# made of these very programs, and ended well is not made again: a series that was interrupted goes on. MINUTES (0 = none) bounds the whole.
# The last line: N kills: 0 lost, 0 duplicated, 0 reordered, 0 leaked.
set -u
build=$1 kills=$2 seed=$3 minutes=$4
each=5000
logs=$build/chaos
mkdir -p "$logs"
began=$(date +%s)
left=$kills run=$seed failed=0 runs=""

is_whole() { # LOG: it came to its closing line, and that is clean
    [ -e "$1" ] && [ -z "$(find "$build/bin" "$build/tests/chaos" -type f -newer "$1" | head -n 1)" ] &&
        tail -n 1 "$1" 2>/dev/null | grep -q ' kills: 0 lost, 0 duplicated, 0 reordered, 0 leaked$'
}

while [ "$left" -gt 0 ] && [ "$failed" = 0 ]; do
    n=$each
    [ "$left" -lt "$n" ] && n=$left
    log=$logs/$run.$n.log
    took=$(($(date +%s) - began))
    [ "$minutes" -gt 0 ] && [ $took -ge $((minutes * 60)) ] && break
    if is_whole "$log"; then
        echo "seed $run: $(tail -n 1 "$log") (made before)"
    else
        rest=0
        [ "$minutes" -gt 0 ] && rest=$(((minutes * 60 - took + 59) / 60))
        "$build/tests/chaos/prog_chaos" "$build" --kills "$n" --seed "$run" --minutes "$rest" >"$log" 2>&1 || failed=1
        [ $failed = 1 ] && cat "$log"
        echo "seed $run: $(tail -n 1 "$log") ($(($(date +%s) - began)) s)"
    fi
    runs="$runs $log"
    left=$((left - n))
    run=$((run + 1))
done

# shellcheck disable=SC2086 # the names are ours
cat $runs | awk '
    / events accounted for: / { events += $1; merged += $5; oldest += $12; newest += $14; epoch += $16; deadline += $18 }
    / effects; results: / { commands += $1; effects += $3; for (i = 6; i < NF; i += 2) result[$(i + 1)] += $i }
    /^killed: / { for (i = 2; i < NF; i += 3) killed[$(i + 2)] += $i }
    / kills: / { kills += $1; lost += $3; duplicated += $5; reordered += $7; leaked += $9; runs++ }
    END {
        printf "\n%d runs\n", runs
        printf "%d events accounted for: %d merged into others, told as lost: %d oldest, %d newest, %d epoch, %d deadline\n",
               events, merged, oldest, newest, epoch, deadline
        printf "%d commands, %d effects; results:", commands, effects
        for (r in result) printf " %d %s", result[r], r
        printf "\nkilled:"
        for (k in killed) printf " %d x %s", killed[k], k
        printf "\n%d kills: %d lost, %d duplicated, %d reordered, %d leaked\n", kills, lost, duplicated, reordered, leaked
    }'
exit $failed
