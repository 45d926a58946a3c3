#!/bin/sh
# The Makefile: a second make does nothing, a header rebuilds its users and nobody else, a build under -j from nothing,
# clean. BUILD is up to date when this runs.
set -u
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that runs the tests
make="make --no-print-directory"

say() { # NAME WHY: ok when WHY is empty
    if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1: $2"; fi
}
# What make would compile if FILE had changed: the .c files.
would() {
    $make -n -W "$1" BUILD="$build" all 2>/dev/null | grep -oE ' -c [^ ]+\.c' | sed 's/ -c //' | sort -u
}

say "a second make does nothing" "$($make -n BUILD="$build" all tests | grep -v 'Nothing to be done' | head -n 3 | tr '\n' ';')"

would supervisor/cli/table.h >"$tmp/users"
say "a header rebuilds its users" "$(grep -qx supervisor/cli/table.c "$tmp/users" || echo 'not table.c')"
say "and nobody else" "$(grep -vE '^supervisor/cli/' "$tmp/users" | tr '\n' ' ')"
would schema/event.proto >"$tmp/users"
say "a .proto rebuilds what is made from it" "$(grep -q 'event.pb-c.c' "$tmp/users" || echo 'not event.pb-c.c')"
say "and its users" "$(grep -qx schema/codec.c "$tmp/users" || echo 'not schema/codec.c')"
would include/vmsig_event.h >"$tmp/users"
say "a public header rebuilds the library" "$(grep -qx schema/codec.c "$tmp/users" || echo 'not schema/codec.c')"

# From nothing, many at once; without optimization, to be quick.
$make -j8 BUILD="$tmp/b" OPT=-O0 "$tmp/b/lib/libvmsig.so" >"$tmp/log" 2>&1
say "a build from nothing under -j" "$([ -e "$tmp/b/lib/libvmsig.so" ] || tail -n 2 "$tmp/log" | tr '\n' ' ')"
say "all of it lies in the build folder" "$(find . -newer "$tmp/b/gen/event.pb-c.h" -name '*.[od]' -not -path './build*' | head -n 3)"
$make BUILD="$tmp/b" clean >"$tmp/log" 2>&1
say "clean leaves nothing" "$([ -e "$tmp/b" ] && find "$tmp/b" | head -n 3)"
