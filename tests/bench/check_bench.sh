#!/bin/sh
# vmsig-bench runs, says what it must, and refuses what it cannot do. What it measures is nobody's to assert here.
set -u
bench=$1/bin/vmsig-bench
out=$1/bench-check.out

if timeout 100 "$bench" hop --rounds 1 --scale 1 --json >"$out" 2>&1 && /usr/bin/python3 - "$out" <<'END'; then
import json, sys
rows = {r["case"]: r for r in (json.loads(l) for l in open(sys.argv[1]) if l.startswith("{")) if r}
sleeping = rows["ring, sleeping"]
assert set(sleeping["ns"]) == {"p50", "p99", "p99.9", "max", "mean"}, sleeping
assert 0 < sleeping["ns"]["p50"] <= sleeping["ns"]["p99"] <= sleeping["ns"]["max"] * 1.02, sleeping
assert sleeping["ratio"]["floor: an eventfd"] > 0, sleeping
if "machine" in rows:
    assert rows["ring, spinning"]["ratio"]["floor: a line"] > 0, rows
    assert rows["ring, in turns of 32"]["events_per_s"] > 0, rows
END
    echo "ok bench-json"
else
    echo "not ok bench-json $(tail -n 5 "$out" | tr '\n' ' ')"
fi

if timeout -s KILL 100 "$bench" chain --rounds 1 --scale 1 --json >"$out" 2>&1 && /usr/bin/python3 - "$out" <<'END'; then
import json, sys
rows = {r["case"]: r for r in (json.loads(l) for l in open(sys.argv[1]) if l.startswith("{"))}
chain = rows["chain, 1 cpu"]
assert 0 < chain["ns"]["p50"] <= chain["ns"]["max"] * 1.02, chain
assert chain["ratio"]["floor: seqpacket, 1 cpu"] > 0, chain
assert rows["chain at full load, 1 cpu"]["events_per_s"] > 0, rows
END
    echo "ok bench-chain"
else
    echo "not ok bench-chain $(tail -n 5 "$out" | tr '\n' ' ')"
fi

if timeout 100 "$bench" seam --rounds 1 --scale 1 --json >"$out" 2>&1 && [ "$(grep -c '"p50":[1-9]' "$out")" = 3 ]; then
    echo "ok bench-seam"
else
    echo "not ok bench-seam $(tail -n 5 "$out" | tr '\n' ' ')"
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
