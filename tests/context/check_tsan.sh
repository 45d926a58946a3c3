#!/bin/sh
# Submits from several threads under ThreadSanitizer: no report. A race that is put in on purpose is reported.
set -u
build=$1
dir=$build/tsan
mkdir -p "$dir"

if ! clang -std=c11 -D_GNU_SOURCE -Iinclude -I. -O1 -g -fsanitize=thread -o "$dir/submit" tests/context/tsan_submit.c \
    actors/context/ctx.c actors/context/engine.c actors/context/engine_s*.c -lpthread; then
    echo "not ok tsan-submit it does not build with clang -fsanitize=thread"
    exit 1
fi

# Where the kernel spreads mappings wider than the sanitizer can follow, it is run without that.
run() {
    TSAN_OPTIONS="exitcode=66 halt_on_error=0" timeout 100 "$dir/submit" "$@" >"$dir/submit.log" 2>&1
    code=$?
    if grep -q "unexpected memory mapping" "$dir/submit.log"; then
        TSAN_OPTIONS="exitcode=66 halt_on_error=0" timeout 100 setarch -R "$dir/submit" "$@" >"$dir/submit.log" 2>&1
        code=$?
    fi
    return $code
}

if run && ! grep -q "WARNING: ThreadSanitizer" "$dir/submit.log"; then
    echo "ok tsan-submit"
else
    echo "not ok tsan-submit ThreadSanitizer reports, or events failed to come:"
    head -n 40 "$dir/submit.log"
fi

run race
if [ $? = 66 ] && grep -q "data race" "$dir/submit.log"; then
    echo "ok tsan-planted-race-is-found-in-submit"
else
    echo "not ok tsan-planted-race-is-found-in-submit the check would not notice a race"
fi
