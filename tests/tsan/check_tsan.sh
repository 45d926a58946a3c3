#!/bin/sh
# What several threads share, under ThreadSanitizer: no report. A race that is put in on purpose is reported.
set -u
dir=$1/tsan
mkdir -p "$dir"

# Where the kernel spreads mappings wider than the sanitizer can follow, it is run without that.
run() { # PROGRAM [ARGUMENT]: its exit code, 66 = there were reports
    prog=$1
    shift
    TSAN_OPTIONS="exitcode=66 halt_on_error=0" timeout 100 "$dir/$prog" "$@" >"$dir/$prog.log" 2>&1
    code=$?
    if grep -q "unexpected memory mapping" "$dir/$prog.log"; then
        TSAN_OPTIONS="exitcode=66 halt_on_error=0" timeout 100 setarch -R "$dir/$prog" "$@" >"$dir/$prog.log" 2>&1
        code=$?
    fi
    return $code
}

# Whether two threads meet is up to the scheduler: it gets several chances.
finds_race() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        run "$1" race
        [ $? = 66 ] && grep -q "data race" "$dir/$1.log" && return 0
    done
    return 1
}

check() { # NAME SOURCES...
    name=$1
    shift
    if ! clang -std=c11 -D_GNU_SOURCE -Iinclude -I. -O1 -g -fsanitize=thread -o "$dir/$name" "tests/tsan/$name.c" "$@" \
        -lpthread; then
        echo "not ok tsan-$name it does not build with clang -fsanitize=thread"
        return
    fi
    if run "$name" && ! grep -q "WARNING: ThreadSanitizer" "$dir/$name.log"; then
        echo "ok tsan-$name"
    else
        echo "not ok tsan-$name ThreadSanitizer reports, or it failed:"
        head -n 40 "$dir/$name.log"
    fi
    if finds_race "$name"; then
        echo "ok tsan-$name-planted-race-is-found"
    else
        echo "not ok tsan-$name-planted-race-is-found the check would not notice a race"
    fi
}

check ring schema/slot.c rings/ring_*.c rings/shm.c rings/bell.c
check submit actors/context/ctx.c actors/context/engine*.c
check sync actors/gateway/audit_sync.c -isystem "$1/gen" -lsodium
