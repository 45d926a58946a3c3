#!/bin/sh
# What vmsig-sensor-memwatch and vmsig-host-stub say for themselves, without a supervisor.
build=$1

says() { # NAME STATUS PATTERN COMMAND...
    name=$1 status=$2 pattern=$3
    shift 3
    out=$("$@" 2>&1 </dev/null)
    got=$?
    if [ "$got" != "$status" ]; then
        echo "not ok $name exit status $got, not $status"
    elif ! printf '%s\n' "$out" | grep -q -e "$pattern"; then
        echo "not ok $name it said: $out"
    else
        echo "ok $name"
    fi
}

watch=$build/bin/vmsig-sensor-memwatch
says help 0 '--virt ADDR' "$watch" --help
says no_place 64 'needs a place' "$watch"
says no_value 64 'missing after: --phys' "$watch" --phys
says bad_place 64 'not: 0x10:99' "$watch" --phys 0x10:99
says bad_hz 64 'not: 0' "$watch" --phys 0x10 --hz 0
says unknown 64 'unknown argument: --fast' "$watch" --phys 0x10 --fast
says one_sentence 64 'memwatch: ' "$watch" --virt x
[ "$("$watch" --virt x 2>&1 | wc -l)" = 1 ] && echo "ok one_line" || echo "not ok one_line more than one line"
says alone 64 'vmsig up' "$watch" --phys 0x10
says host_alone 64 'vmsig up' "$build/bin/vmsig-host-stub"
