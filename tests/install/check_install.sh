#!/bin/sh
# `make install` to a folder of its own; a program is built against it by pkg-config, shared and static, as an outsider
# would; headers alone as C11 and C++17; what the shared library exports.
#   sh tests/install/check_install.sh BUILD
set -u
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
root=$tmp/root
strict="-Wall -Wextra -Wpedantic -Werror"

unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that runs the tests
check() { # NAME COMMAND...: ok when it succeeds
    case=$1
    shift
    if "$@" >"$tmp/log" 2>&1; then
        echo "ok $case"
    else
        echo "not ok $case: $(tail -n 3 "$tmp/log" | tr '\n' ' ')"
    fi
}

check "make install" make --no-print-directory install BUILD="$build" DESTDIR="$root" PREFIX=/usr
[ -e "$root/usr/lib/pkgconfig/vmsig.pc" ] || exit 1

# ---- a program against the installed files -------------------------------------------------------------
cat >"$tmp/outsider.c" <<'END'
#include <stdio.h>
#include <vmsig_ctx.h>
#include <vmsig_memctx.h>
int main(void) {
    vmsig_event ev = {.kind = VMSIG_EV_SENSOR_FIRST, .source = VMSIG_SRC_SENSOR_FIRST}, out;
    vmsig_ctx *c = vmsig_ctx_new();
    if (!c || vmsig_ctx_submit(c, VMSIG_DIR_UP, &ev) || vmsig_ctx_next(c, VMSIG_DIR_UP, &out) != 1)
        return 1;
    vmsig_ctx_free(c);
    return out.seq == ev.seq ? 0 : 1;
}
END
export PKG_CONFIG_SYSROOT_DIR="$root" PKG_CONFIG_PATH="$root/usr/lib/pkgconfig"
cflags=$(pkg-config --cflags vmsig)
libs=$(pkg-config --libs vmsig)
# shellcheck disable=SC2086
{
    check "a program links the shared library" gcc -std=c11 $strict $cflags -o "$tmp/shared" "$tmp/outsider.c" $libs
    check "and runs" env LD_LIBRARY_PATH="$root/usr/lib" "$tmp/shared"
    check "a program links the static library" gcc -std=c11 $strict $cflags -o "$tmp/static" "$tmp/outsider.c" \
        "$root/usr/lib/libvmsig.a" $(pkg-config --static --libs-only-l vmsig | sed 's/-lvmsig//')
    check "and runs too" "$tmp/static"
}
check "the installed programs start" "$root/usr/bin/vmsig" version
check "the man pages are there" test -e "$root/usr/share/man/man1/vmsig.1"

# ---- headers --------------------------------------------------------------------------------------------
for h in "$root"/usr/include/vmsig_*.h; do
    name=$(basename "$h")
    printf '#include <%s>\n' "$name" >"$tmp/alone.c"
    cp "$tmp/alone.c" "$tmp/alone.cpp"
    # shellcheck disable=SC2086
    check "$name alone as C11" gcc -std=c11 $strict -I"$root/usr/include" -fsyntax-only "$tmp/alone.c"
    # shellcheck disable=SC2086
    check "$name alone as C++17" g++ -std=c++17 $strict -I"$root/usr/include" -fsyntax-only "$tmp/alone.cpp"
done
bad=""
for h in $(git ls-files 'schema/*.h' 'rings/*.h' 'actors/*.h' 'supervisor/*.h' 2>/dev/null || find schema rings actors supervisor -name '*.h'); do
    printf '#include "%s"\n' "$h" >"$tmp/alone.c"
    # shellcheck disable=SC2086
    gcc -std=c11 -D_GNU_SOURCE $strict -Iinclude -I. -isystem "$build/gen" -fsyntax-only "$tmp/alone.c" \
        >"$tmp/log" 2>&1 || bad="$bad $h"
done
check "internal headers compile alone:${bad:- all}" test -z "$bad"

# ---- symbols --------------------------------------------------------------------------------------------
strange=$(nm -D --defined-only "$root/usr/lib/libvmsig.so" | awk '$2 != "A" && $3 !~ /^vmsig_/ {print $3}' | tr '\n' ' ')
check "libvmsig.so exports vmsig_* only: ${strange:-nothing else}" test -z "$strange"
missing=""
for f in $(sed -n 's/^[a-z].*[ *]\(vmsig_[a-z0-9_]*\)(.*/\1/p' "$root"/usr/include/vmsig_*.h | sort -u); do
    [ "$f" = vmsig_plugin_open ] && continue # a plug-in's, not ours
    nm -D --defined-only "$root/usr/lib/libvmsig.so" | grep -q " $f\$" || missing="$missing $f"
done
check "every function of the headers is there:${missing:- all}" test -z "$missing"
