#!/bin/sh
# The command `vmsig check`: exit codes, and where its words go.
set -u
vmsig=$1/bin/vmsig
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# case NAME EXIT-CODE STDOUT-PATTERN STDERR-PATTERN ARGS...: an empty pattern wants nothing there
case_() {
    name=$1 code=$2 out=$3 err=$4
    shift 4
    "$vmsig" check "$@" >"$tmp/out" 2>"$tmp/err"
    got=$?
    why=
    [ "$got" = "$code" ] || why="exit $got instead of $code"
    [ -n "$out" ] && { grep -q "$out" "$tmp/out" || why="stdout has no $out"; }
    [ -z "$out" ] && [ -s "$tmp/out" ] && why="stdout is not empty"
    [ -n "$err" ] && { grep -q "$err" "$tmp/err" || why="stderr has no $err: $(cat "$tmp/err")"; }
    [ -z "$err" ] && [ -s "$tmp/err" ] && why="stderr is not empty: $(cat "$tmp/err")"
    [ "$got" = 2 ] && [ "$(wc -l <"$tmp/err")" != 1 ] && why="not one line"
    [ -z "$why" ] && echo "ok check-$name" || echo "not ok check-$name $why"
}

cat >"$tmp/fine.yaml" <<'END'
endpoints: [{name: vm, id: 0, host: stub}]
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway}
END
sed 's/id: 0/id: 64/' "$tmp/fine.yaml" >"$tmp/wrong.yaml"
: >"$tmp/empty.yaml"

case_ demo 0 "vmstat" ""
case_ fine 0 "the topology fine is fine" "" "$tmp/fine.yaml"
case_ json 0 '"links": *\[' "" --json "$tmp/fine.yaml"
case_ wrong 2 "" "wrong.yaml:1:28: id: found \"64\", expected a whole number from 0 to 63" "$tmp/wrong.yaml"
case_ wrong-json 2 "" "wrong.yaml:1:28: id: " "$tmp/wrong.yaml" --json
case_ empty 2 "" "empty.yaml:1:1: the file is empty" "$tmp/empty.yaml"
case_ missing 2 "" "no.yaml:1:1: found no file" "$tmp/no.yaml"
case_ folder 2 "" "Is a directory" "$tmp"
case_ explain 0 "actors.policies.min_gap: a time" "" --explain min_gap
case_ explain-grants 0 "grants.caps: a list" "" --explain grants.caps
case_ explain-nothing 64 "" "no key is called nix" --explain nix
case_ reference 0 '^| `endpoints` |' "" --reference
case_ help 0 "usage: vmsig check" "" --help
case_ two-files 64 "" "is not expected" a b
case_ unknown-option 64 "" "there is no option" --nix

if python3 -c 'import json, sys; json.load(sys.stdin)' <<END
$("$vmsig" check --json "$tmp/fine.yaml")
END
then echo "ok check-json-is-json"; else echo "not ok check-json-is-json"; fi
if "$vmsig" check >/dev/full 2>/dev/null; then echo "not ok check-full-disk exit 0"; else echo "ok check-full-disk"; fi
