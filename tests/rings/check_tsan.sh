#!/bin/sh
# The ring under ThreadSanitizer, its two sides as threads: no report. A race that is put in on purpose is reported.
set -u
build=$1
dir=$build/tsan
mkdir -p "$dir"

if ! clang -std=c11 -D_GNU_SOURCE -Iinclude -I. -O1 -g -fsanitize=thread -o "$dir/ring" tests/rings/tsan_ring.c \
    schema/slot.c rings/ring_*.c rings/shm.c rings/bell.c -lpthread; then
    echo "not ok tsan-ring it does not build with clang -fsanitize=thread"
    exit 1
fi

# Where the kernel spreads mappings wider than the sanitizer can follow, it is run without that.
run() {
    TSAN_OPTIONS="exitcode=66 halt_on_error=0" timeout 100 "$dir/ring" "$@" >"$dir/log" 2>&1
    code=$?
    if grep -q "unexpected memory mapping" "$dir/log"; then
        TSAN_OPTIONS="exitcode=66 halt_on_error=0" timeout 100 setarch -R "$dir/ring" "$@" >"$dir/log" 2>&1
        code=$?
    fi
    return $code
}

if run && ! grep -q "WARNING: ThreadSanitizer" "$dir/log"; then
    echo "ok tsan-ring"
else
    echo "not ok tsan-ring ThreadSanitizer reports, or the ring failed:"
    head -n 40 "$dir/log"
fi

run race
if [ $? = 66 ] && grep -q "data race" "$dir/log"; then
    echo "ok tsan-planted-race-is-found"
else
    echo "not ok tsan-planted-race-is-found the check would not notice a race"
fi
