#!/bin/sh
# The page that is committed is the one that `make docs` writes, and its examples are fine topologies.
set -u
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if sh tools/reference.sh "$build/bin/vmsig" >"$tmp/topology.md" && cmp -s "$tmp/topology.md" docs/topology.md; then
    echo "ok docs-topology-is-up-to-date"
else
    echo "not ok docs-topology-is-up-to-date run make docs"
fi

# The first example, with the files that it names.
sed -n '/^```yaml/,/^```/p' docs/topology.md | sed -n '2,/^```/p' | sed '/^```/d' >"$tmp/lab.yaml"
printf '#!/bin/sh\n' >"$tmp/my-sensor"
chmod +x "$tmp/my-sensor"
echo "grants: [{uid: 1000, endpoints: [tiny], caps: [observe]}]" >"$tmp/grants.yaml"
if "$build/bin/vmsig" check "$tmp/lab.yaml" >"$tmp/out" 2>&1; then
    echo "ok docs-example-is-fine"
else
    echo "not ok docs-example-is-fine $(cat "$tmp/out")"
fi
