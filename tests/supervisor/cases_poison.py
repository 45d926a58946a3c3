#!/usr/bin/env python3
"""Actors that write nonsense into a ring, or into a reader page: they are restarted, not those on the other side."""
import sys

from harness import chain, check, flows, run_cases, running, whole


def lies(build, topology, liar, witness):
    with running(build, "slots: 64\n" + topology) as r:
        r.running()
        before = {n: (a["pid"], a["incarnation"]) for n, a in r.running()["actors"].items() if n != liar}
        a = r.wait_actor(liar, lambda a: a["incarnation"] >= 2 and a["state"] == "ready", "restarted")
        check(a["restarts"] == 1, "restarted %d times" % a["restarts"])
        check("wrote nonsense on link" in a["last_exit"] and "says " + witness in a["last_exit"], a["last_exit"])
        check("%s: link" % witness in r.stderr() and "is poisoned: %s wrote" % liar in r.stderr(), r.stderr())
        for name in ("ctx", "gate", "vm"):
            flows(r, name)
        after = {n: (a["pid"], a["incarnation"]) for n, a in r.running()["actors"].items() if n != liar}
        check(after == before, "touched: %r, %r" % (before, after))
        check(r.end() == 0, "exit code")
        whole(r)
        r.nothing_left()


def a_sensor_that_writes_nonsense(build):
    lies(build, chain(beat=', "--lies"]'), "beat", "ctx")


def a_host_that_writes_nonsense(build):
    lies(build, chain(vm=', "--lies"]'), "vm", "ctx")


def a_gateway_that_writes_nonsense(build):
    lies(build, chain(gate=', "--lies"]'), "gate", "ctx")


def a_host_whose_cursor_cannot_be(build):
    lies(build, chain(vm=', "--lies-back"]'), "vm", "ctx")


if __name__ == "__main__":
    run_cases([a_sensor_that_writes_nonsense, a_host_that_writes_nonsense, a_gateway_that_writes_nonsense,
               a_host_whose_cursor_cannot_be], sys.argv[1])
