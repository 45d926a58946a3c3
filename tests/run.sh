#!/bin/sh
# Runs every test and prints, last, `N passed, N failed`.
#   sh tests/run.sh BUILD [PATTERN]      PATTERN: only tests whose name contains it
#
# tests/*/test_*.c   Criterion programs, built to BUILD/tests
# tests/*/check_*.sh scripts: one line "ok NAME" or "not ok NAME why" per case; BUILD is $1
set -u
build=$1
only=${2-}
passed=0
failed=0
logs=$build/test-logs
mkdir -p "$logs"

tally() { # NAME LOG PASSED FAILED STARTED
    passed=$((passed + $3))
    failed=$((failed + $4))
    took=$(($(date +%s) - $5))
    if [ "$4" -gt 0 ]; then
        echo "FAIL  $1: $3 passed, $4 failed, $took s"
        sed 's/^/      /' "$2" | tail -n 60
    else
        echo "ok    $1: $3 passed, $took s"
    fi
}

for t in tests/*/test_*.c; do
    name=${t#tests/}
    name=${name%.c}
    case "$name" in *"$only"*) ;; *) continue ;; esac
    log=$logs/$(echo "$name" | tr / _).log
    started=$(date +%s)
    timeout 300 "$build/tests/$name" --timeout 120 >"$log" 2>&1
    code=$?
    p=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | sed -n 's/.*Synthesis: Tested: \([0-9]*\) | Passing: \([0-9]*\) .*/\2/p' | tail -n 1)
    n=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | sed -n 's/.*Synthesis: Tested: \([0-9]*\) | Passing: \([0-9]*\) .*/\1/p' | tail -n 1)
    if [ -z "$n" ]; then # it never came to its closing line
        p=0 n=1
    elif [ "$code" != 0 ] && [ "$p" = "$n" ]; then
        n=$((n + 1))
    fi
    tally "$name" "$log" "$p" $((n - p)) "$started"
done

for t in tests/*/check_*.sh; do
    [ -e "$t" ] || continue
    name=${t#tests/}
    name=${name%.sh}
    case "$name" in *"$only"*) ;; *) continue ;; esac
    log=$logs/$(echo "$name" | tr / _).log
    started=$(date +%s)
    timeout 600 sh "$t" "$build" >"$log" 2>&1
    code=$?
    p=$(grep -c '^ok ' "$log")
    f=$(grep -c '^not ok ' "$log")
    [ "$code" != 0 ] && [ "$f" = 0 ] && f=1
    [ "$p" = 0 ] && [ "$f" = 0 ] && f=1
    tally "$name" "$log" "$p" "$f" "$started"
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
