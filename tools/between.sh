#!/bin/sh
# Puts a file between the marks `<!-- NAME -->` and `<!-- /NAME -->` of another.
#   sh tools/between.sh DOCUMENT NAME FILE
set -eu
awk -v from="<!-- $2 -->" -v to="<!-- /$2 -->" -v file="$3" '
    $0 == to { inside = 0 }
    !inside { print }
    $0 == from { inside = 1; found = 1; while ((getline line < file) > 0) print line }
    END { if (!found || inside) { print "between.sh: the marks are not there" > "/dev/stderr"; exit 1 } }
' "$1" >"$1.new"
cat "$1.new" >"$1"
rm "$1.new"
