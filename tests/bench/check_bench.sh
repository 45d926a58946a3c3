#!/bin/sh
# vmsig-bench runs, says what it must, and refuses what it cannot do. What it measures is nobody's to assert here.
set -u
bench=$1/bin/vmsig-bench
out=$1/bench-check.out

say() { # NAME: by the exit status of what went before
    if [ $? = 0 ]; then
        echo "ok $1"
    else
        echo "not ok $1 $(tail -n 5 "$out" | tr '\n' ' ')"
    fi
}

judge() { # NAME SCRIPT: the cases of a run in Python, by their names
    /usr/bin/python3 - "$out" "$2" >>"$out.said" 2>&1 <<'END'
import json, sys
rows = {r["case"]: r for r in (json.loads(l) for l in open(sys.argv[1]) if l.startswith("{"))}
exec(sys.argv[2])
END
    code=$?
    cat "$out.said" >>"$out"
    rm -f "$out.said"
    (exit $code)
    say "$1"
}

timeout 100 "$bench" hop wake throughput --rounds 1 --scale 1 --json --plot "$out.svg" >"$out" 2>&1
judge bench-json '
sleeping = rows["ring, sleeping, 1 cpu"]
assert {"family", "rounds", "unit", "p50", "p99", "p99.9", "p99.99", "max", "mean"} < set(sleeping), sleeping
assert sleeping["unit"] == "ns" and sleeping["family"] == "wake", sleeping
assert 0 < sleeping["p50"] <= sleeping["p99"] <= sleeping["max"], sleeping
assert sleeping["p99.99"] is None, "21 values know nothing of one in ten thousand"
assert sleeping["ratio"]["floor: a futex, 1 cpu"] > 0, sleeping
if "machine" in rows:
    assert rows["machine"]["distance"][0] in ("siblings", "near", "far"), rows["machine"]
    assert rows["ring, spinning"]["ratio"]["floor: a line"] > 0, rows
    assert rows["actors, spinning"]["p50"] > 0, "by the public API"
    assert rows["ring, in turns of 32"]["unit"] == "events/s" and rows["ring, in turns of 32"]["value"] > 0, rows
'
/usr/bin/python3 - "$out.svg" >>"$out" 2>&1 <<'END'
import sys, xml.dom.minidom
texts = [t.firstChild.data for t in xml.dom.minidom.parse(sys.argv[1]).getElementsByTagName("text")]
assert "ring, sleeping, 1 cpu" in texts and "wake: latency" in texts and "p99.99" in texts, texts
END
say bench-plot
rm -f "$out.svg"

timeout 100 "$bench" fan payload --rounds 1 --scale 1 --json >"$out" 2>&1
judge bench-fan-payload '
assert rows["rings from 64 producers"]["ratio"]["floor: 64 writers of a pipe"] > 0, rows
if "machine" in rows:
    assert rows["actors, 1.00 MiB"]["unit"] == "bytes/s" and rows["actors, 1.00 MiB"]["value"] > 0, rows
'

timeout -s KILL 100 "$bench" chain --rounds 1 --scale 1 --json >"$out" 2>&1
judge bench-chain '
chain = rows["chain, 1 cpu"]
assert 0 < chain["p50"] <= chain["max"], chain
assert chain["ratio"]["floor: seqpacket, 1 cpu"] > 0, chain
assert rows["chain at full load, 1 cpu"]["value"] > 0, rows
rings = rows["chain over rings, 1 cpu"]
assert 0 < rings["p50"] <= rings["max"], rings
assert rows["chain over rings at full load, 1 cpu"]["value"] > 0, rows
'

timeout -s KILL 100 "$bench" restart --rounds 1 --scale 1 --json >"$out" 2>&1
judge bench-restart '
for role in ("sensor", "context", "gateway", "host", "supervisor"):
    assert 0 < rows[role]["p50"] <= rows[role]["max"], rows
for whose in ("context", "gateway", "supervisor"):
    assert rows[whose + ": before"]["value"] > 0 and rows[whose + ": after"]["value"] > 0, rows
'

timeout 100 "$bench" seam --rounds 1 --scale 1 --json >"$out" 2>&1 && [ "$(grep -c '"p50":[1-9]' "$out")" = 5 ]
say bench-seam

timeout 100 "$bench" ctx --rounds 1 --scale 1 >"$out" 2>&1 && grep -q '^  pass-through  *[0-9.]* ns ' "$out"
say bench-text

# a topology that runs, looked at from the outside
dir=$(mktemp -d)
cat >"$dir/look.yaml" <<'END'
endpoints:
  - {name: lab, id: 0, host: stub, stub: {memory: 4M, hz: 0}}
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway, socket: control.sock}
  - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: lab, source: 8, args: [--hz, "200"]}
END
export XDG_RUNTIME_DIR="$dir"
"$1/bin/vmsig" up "$dir/look.yaml" --no-tap >"$dir/up.log" 2>&1 &
up=$!
tries=0
until "$1/bin/vmsig" status --name look 2>/dev/null | grep -q 'look.*running' || [ $tries = 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
before=$("$1/bin/vmsig" status --name look --json | tr ',' '\n' | grep -c '"incarnation": *1')
timeout 60 "$bench" "$dir/look.yaml" --rounds 2 --json >"$out" 2>&1
judge bench-live '
[name] = [c for c in rows if c.startswith("lab, ") and c.endswith(": to a control")]
assert rows[name]["family"] == "live" and rows[name]["p50"] > 0, rows
assert rows[name.replace("to a control", "events")]["value"] > 20, rows
assert rows["link beat to ctx"]["value"] > 20 and rows["link ctx to gate"]["value"] > 20, rows
assert "ctx: processor time" in rows, rows
'
after=$("$1/bin/vmsig" status --name look --json | tr ',' '\n' | grep -c '"incarnation": *1')
[ "$before" = "$after" ]
say bench-live-disturbs-nothing
kill -TERM $up
wait $up
timeout 20 "$bench" "$dir/look.yaml" >"$out" 2>&1
[ $? = 1 ] && grep -q 'vmsig up' "$out"
say bench-live-needs-it-running
echo 'endpoints: 7' >"$dir/wrong.yaml"
timeout 20 "$bench" "$dir/wrong.yaml" >"$out" 2>&1
[ $? = 2 ] && grep -q 'wrong.yaml:1:' "$out"
say bench-live-wrong-file
rm -rf "$dir"

if command -v qemu-system-x86_64 >/dev/null; then
    timeout 100 "$bench" --vm --rounds 1 --scale 10 --json >"$out" 2>&1
    judge bench-vm '
for name in ("query, command to result", "key to RAM", "key to control, by memwatch", "MEMWRITE to guest",
             "MEMWRITE of 4 KiB, to result"):
    row = rows[name]
    (floor, ratio), = row["ratio"].items()
    assert row["family"] == "vm" and 0 < row["p50"] <= row["p99"] <= row["max"], row
    assert ratio > 0 and 0 < rows[floor]["p50"], (row, rows)
'
fi

refused() { # NAME ARGS...: exit status 64 and one sentence
    name=$1
    shift
    said=$("$bench" "$@" 2>&1)
    code=$?
    if [ $code = 64 ] && [ "$(echo "$said" | wc -l)" = 1 ]; then
        echo "ok bench-refuses-$name"
    else
        echo "not ok bench-refuses-$name exit $code: $said"
    fi
}
refused unknown-bench hopp
refused bad-cpus --cpus 0
refused no-rounds --rounds 0
