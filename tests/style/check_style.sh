#!/bin/sh
# What can be told of the sources by looking at them: format, stray blanks, words that have no business here, and the
# rooms' includes, which point down only (docs/design.md).
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard >"$tmp/files"
else
    find . -type f -not -path './build*' -not -path './.git/*' | sed 's|^\./||' >"$tmp/files"
fi
while read -r f; do [ -f "$f" ] && echo "$f"; done <"$tmp/files" >"$tmp/there"
grep -E '\.(c|h|proto|sh|py|md|yaml|pml)$|Makefile$' "$tmp/there" >"$tmp/texts"
grep -E '\.(c|h)$' "$tmp/there" >"$tmp/sources"

none() { # NAME: ok when stdin is empty
    head -n 5 >"$tmp/found"
    if [ -s "$tmp/found" ]; then
        echo "not ok $1: $(tr '\n' ';' <"$tmp/found")"
    else
        echo "ok $1"
    fi
}
in_texts() { xargs -d '\n' grep -nHE "$@" <"$tmp/texts"; }

in_texts '[[:blank:]]+$' | none "no trailing blanks"
xargs -d '\n' grep -nHP '\t' <"$tmp/sources" | none "no tabs in sources"
# Paths of one machine, and notes to oneself. This file names them in pieces.
in_texts "/work""/|/tmp""/wt|/home""/[a-z]|/root""/" | none "no paths of one machine"
in_texts "\\b(TO""DO|FIX""ME|X""XX)\\b" | none "nothing left behind"

if command -v clang-format >/dev/null; then
    xargs -d '\n' clang-format --dry-run --Werror <"$tmp/sources" 2>&1 | grep -E 'error|warning' | none "formatted by .clang-format"
fi

# ---- rooms ----------------------------------------------------------------------------------------------
includes() { # ROOM FORBIDDEN: the includes of ROOM's files that match FORBIDDEN
    grep -E "^$1/" "$tmp/sources" | xargs -r -d '\n' grep -nHE "^#include \"($2)" | none "$1 includes no $2"
}
includes include 'schema/|rings/|actors/|supervisor/'
includes schema 'rings/|actors/|supervisor/'
includes rings 'actors/|supervisor/'
includes actors/runtime 'actors/(context|gateway|hosts|sensors|core)/|supervisor/'
includes actors/context 'actors/(gateway|hosts|sensors|core)/|supervisor/'
includes actors/gateway 'actors/(context|hosts|sensors|core)/|supervisor/'
includes actors/hosts 'actors/(context|gateway|sensors|core)/|supervisor/'
includes actors/sensors 'actors/(context|gateway|hosts|core)/|supervisor/'
includes actors/core 'actors/sensors/|supervisor/'
includes supervisor 'actors/(context|gateway|hosts|sensors|core|memctx)/'
