#!/bin/sh
# docs/promises.md: every test that it names is there, every line of the five sections of docs/semantics.md has one, and
# every row names one.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

say() { # NAME WHY: ok when WHY is empty
    if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1: $2"; fi
}

grep '^| ' docs/promises.md | grep -v '^| line ' >"$tmp/rows"
say "each promise names a test" "$(grep -v '`' "$tmp/rows" | head -n 2 | tr '\n' ' ')"

cut -d'|' -f4 "$tmp/rows" | grep -o '`[^`]*`' | tr -d '`' | sort -u | while read -r file suite name; do
    if [ -z "$suite" ]; then
        [ -e "$file" ] || echo "$file"
    elif [ -z "$name" ]; then
        grep -q "^def $suite(" "$file" 2>/dev/null || echo "$file $suite;"
    else
        grep -q "^Test($suite, $name)" "tests/$file.c" 2>/dev/null || echo "$file $suite $name;"
    fi
done >"$tmp/missing"
say "the tests that it names are there" "$(tr '\n' ' ' <"$tmp/missing")"

# The first words of a row stand in the line that it takes apart.
for section in Delivery Epochs Leases "Memory writes" Supervision; do
    awk -v s="## $section" '$0 == s {on = 1; next} /^## / {on = 0} on' docs/semantics.md >"$tmp/text"
    awk -v s="## $section" '$0 == s {on = 1; next} /^## / {on = 0} on' docs/promises.md | grep '^| ' | grep -v '^| line ' |
        cut -d'|' -f2 | sed 's/^ *//; s/ *$//' | sort -u >"$tmp/keys"
    awk '/^- / {if (line) print line; line = $0; next} /^  / {sub(/^ +/, " "); line = line $0} END {print line}' "$tmp/text" >"$tmp/lines"
    uncovered=""
    while read -r line; do
        found=""
        while read -r key; do
            case "$line" in *"$key"*) found=1 ;; esac
        done <"$tmp/keys"
        [ -n "$found" ] || uncovered="$uncovered $(printf '%.40s' "$line");"
    done <"$tmp/lines"
    say "each line of $section has a test" "$uncovered"
done
