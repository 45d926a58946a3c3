#!/bin/sh
# The papers: man pages are well-formed and complete, the README shows the sensor as it is, links lead somewhere.
#   sh tests/docs/check_docs.sh BUILD
set -u
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

say() { # NAME WHY: ok when WHY is empty
    if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1: $2"; fi
}

for page in docs/man/*.1; do
    say "$(basename "$page") is well-formed" "$(mandoc -T lint -W warning "$page" 2>&1 | head -n 3 | tr '\n' ' ')"
done
for program in "$build"/bin/vmsig*; do
    name=$(basename "$program")
    case "$name" in
    vmsig-bench-peers) continue ;; # not installed
    vmsig-keeper | vmsig-supervisor | vmsig-context | vmsig-gateway | vmsig-host-*) continue ;; # started by vmsig alone
    esac
    say "$name has a man page" "$([ -e "docs/man/$name.1" ] || echo "docs/man/$name.1 is missing")"
done

# The README's sensor.
sensor=actors/sensors/vmsig-sensor-tick_main.c
awk '/^<!-- vmsig-sensor-tick_main.c -->$/ {on = 1; next} on && /^```c$/ {copy = 1; next} copy && /^```$/ {exit} copy' \
    README.md >"$tmp/copy.c"
say "the README shows $sensor as it is" "$(diff "$tmp/copy.c" "$sensor" | head -n 3 | tr '\n' ' ')"
lines=$(wc -l <"$sensor")
say "a sensor has less than 60 lines" "$([ "$lines" -lt 60 ] || echo "$lines lines")"

# Links between the papers.
for paper in README.md docs/*.md; do
    dir=$(dirname "$paper")
    dead=""
    for link in $(grep -o '](\([^)#]*\)' "$paper" | sed 's/^](//' | grep -v '^http'); do
        [ -e "$dir/$link" ] || dead="$dead $link"
    done
    say "links of $paper lead somewhere" "$dead"
done
