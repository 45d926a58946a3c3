#!/bin/sh
# Each fuzzer for FUZZ_TIME seconds (10), side by side, from its kept corpus; under ASAN and UBSAN.
set -u
build=$1
seconds=${FUZZ_TIME:-10}
mkdir -p "$build/fuzz"
if ! make --no-print-directory BUILD="$build" fuzzers >"$build/fuzz/make.log" 2>&1; then
    echo "not ok fuzz-build see $build/fuzz/make.log"
    exit 1
fi

for f in tests/fuzz/fuzz_*.c; do
    name=$(basename "$f" .c)
    name=${name#fuzz_}
    found=$build/fuzz/found/$name # what is new; a run goes on from there
    mkdir -p "$found"
    dict=
    [ -e "tests/fuzz/$name.dict" ] && dict="-dict=tests/fuzz/$name.dict"
    (
        # shellcheck disable=SC2086
        ASAN_OPTIONS=detect_leaks=1 "$build/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
            -max_len=16384 -print_final_stats=1 -artifact_prefix="$build/fuzz/$name-" $dict "$found" \
            "tests/fuzz/corpus/$name" >"$build/fuzz/$name.log" 2>&1
        echo $? >"$build/fuzz/$name.rc"
    ) &
done
wait

for f in tests/fuzz/fuzz_*.c; do
    name=$(basename "$f" .c)
    name=${name#fuzz_}
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz/$name.log")
    if [ "$(cat "$build/fuzz/$name.rc")" = 0 ] && [ "${runs:-0}" -gt 100 ]; then
        echo "ok fuzz-$name $runs inputs"
    else
        echo "not ok fuzz-$name $(grep -m 1 -E 'ERROR|SUMMARY' "$build/fuzz/$name.log"), see $build/fuzz/$name.log"
    fi
done
