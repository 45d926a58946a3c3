#!/bin/sh
# The same end-to-end test, in one process and with each part in a process of its own: with what is built in, and with a
# sensor and an input library from elsewhere.
#   sh tests/armed/check_armed.sh BUILD
set -u
build=$(realpath "$1")
tmp=$(mktemp -d)
chmod 755 "$tmp" # actors of other uids come by
up=
trap '[ -z "$up" ] || kill "$up" 2>/dev/null; wait; rm -rf "$tmp"' EXIT

keys() { # an empty file that every actor may write
    : >"$tmp/keys"
    chmod 666 "$tmp/keys"
}

run() { # NAME COMMAND...
    name=$1
    shift
    timeout 100 "$@" 2>&1 | sed "s/^\(ok\|not ok\) /\1 $name: /"
}

# The topology's own two actors, on stdin; then the test at its gateway.
run_topology() { # NAME PROGRAM
    keys
    mkdir -p "$tmp/run"
    {
        echo "endpoints: [{name: lab, id: 0, host: stub, quiet: 20s}]"
        echo "actors:"
        echo "  - {name: ctx, kind: context}"
        echo "  - {name: gate, kind: gateway, socket: $tmp/s}"
        cat
    } >"$tmp/armed.yaml"
    XDG_RUNTIME_DIR="$tmp/run" "$build/bin/vmsig" up "$tmp/armed.yaml" --no-tap >"$tmp/up" 2>&1 &
    up=$!
    i=0
    until XDG_RUNTIME_DIR="$tmp/run" "$build/bin/vmsig" status --json 2>/dev/null | grep -q '"state": *"running"'; do
        i=$((i + 1))
        if [ $i -gt 600 ] || ! kill -0 $up 2>/dev/null; then
            echo "not ok $1: the topology does not run: $(tail -n 3 "$tmp/up" | tr '\n' ' ')"
            break
        fi
        sleep 0.05
    done
    run "$1" "$2" --at "$tmp/s"
    kill -INT $up
    wait $up || echo "not ok $1: vmsig up ended with exit code $?: $(tail -n 3 "$tmp/up" | tr '\n' ' ')"
    up=
}

keys
run "built in" "$build/tests/armed/prog_armed" "$tmp/keys"
run_topology "built in, in processes" "$build/tests/armed/prog_armed" <<EOF
  - {name: eyes, kind: sensor, exec: vmsig-sensor-memwatch, endpoint: lab, source: 9, memctx: true, args: [--hz, "500", --phys, "0x2008:8"]}
EOF
for part in sensor input; do
    # As an outsider would: against include/ alone.
    if ! gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -O2 -fPIC -Iinclude -c "tests/armed/$part.c" -o "$tmp/$part.o" ||
        ! ar rcs "$tmp/lib$part.a" "$tmp/$part.o"; then
        echo "not ok the library $part does not compile against include/"
    fi
done
if make --no-print-directory BUILD="$1" armed ARMED_SENSOR="$tmp/libsensor.a" ARMED_INPUT="$tmp/libinput.a" >"$tmp/log" 2>&1; then
    keys
    run armed "$build/armed/prog_armed" "$tmp/keys"
    cp "$build/armed/sensor.so" "$build/armed/input.so" "$tmp" # the build folder may be closed to other uids
    run_topology "armed, in processes" "$build/armed/prog_armed" <<EOF
  - {name: eyes, kind: sensor, exec: vmsig-sensor, endpoint: lab, source: 10, args: [--plugin, $tmp/sensor.so, $tmp/keys]}
  - {name: hands, kind: sensor, exec: vmsig-sensor, endpoint: lab, source: 11, accepts: input, args: [--plugin, $tmp/input.so, $tmp/keys]}
EOF
else
    echo "not ok make armed: $(tail -n 3 "$tmp/log" | tr '\n' ' ')"
fi
