#!/bin/sh
# The same end-to-end test: with what is built in, and with a sensor and an input library from elsewhere.
#   sh tests/armed/check_armed.sh BUILD
set -u
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

run() { # NAME PROGRAM
    : >"$tmp/keys"
    timeout 100 "$2" "$tmp/keys" 2>&1 | sed "s/^\(ok\|not ok\) /\1 $1: /"
}

run "built in" "$build/tests/armed/prog_armed"
for part in sensor input; do
    # As an outsider would: against include/ alone.
    if ! gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -O2 -fPIC -Iinclude -c "tests/armed/$part.c" -o "$tmp/$part.o" ||
        ! ar rcs "$tmp/lib$part.a" "$tmp/$part.o"; then
        echo "not ok the library $part does not compile against include/"
    fi
done
if make --no-print-directory BUILD="$build" armed ARMED_SENSOR="$tmp/libsensor.a" ARMED_INPUT="$tmp/libinput.a" >"$tmp/log" 2>&1; then
    run armed "$build/armed/prog_armed"
else
    echo "not ok make armed: $(tail -n 3 "$tmp/log" | tr '\n' ' ')"
fi
