#!/usr/bin/env python3
"""Actors that make no progress are told apart, killed and restarted; what a crash leaves to be read."""
import json
import os
import re
import signal
import sys
import time

from harness import chain, check, flows, run_cases, running, wait_for, whole

LIMITS = ", soft: 300ms, hard: 900ms"


def stuck(build, how, what, why):
    with running(build, chain(ctx=how + LIMITS)) as r:
        r.running()
        if what == "stopped":
            flows(r, "ctx")
            os.kill(r.actor("ctx")["pid"], signal.SIGSTOP)
        r.wait_actor("ctx", lambda a: a["incarnation"] == 2 and a["state"] == "ready", "restarted")
        check(re.search(r"ctx: no progress for \d\.\d s while \d+ slots wait for it: " + what, r.stderr()), r.stderr())
        check(re.search(r"ctx: killed by signal %s.*: no progress for .*: %s" % (why, what), r.stderr()), r.stderr())
        flows(r, "gate")
        report = r.vmsig("status", "--why", "ctx")
        check(re.search(r"^ctx, incarnation 1, pid \d+: signal %s" % why, report), report)
        check(r.end() == 0, "exit code")
        whole(r)


def spinning(build):
    stuck(build, ', "--spin"]', "spinning", "6")


def deadlocked(build):
    stuck(build, ', "--lock"]', "blocked", "6")


def stopped(build):
    stuck(build, "]", "stopped", "9")


def zombie(build, name):
    """What is left of a former incarnation, with all that it had mapped, wakes up and writes: nobody reads it there."""
    more = {name: ', "--zombie"]'}
    with running(build, "limits: none\n" + chain(**more)) as r:
        r.running()
        left = wait_for("its copy", lambda: [n for _, a, _, n in r.lines("child") if a == name])[0]
        wait_for("that it stands still", lambda: " T " in open("/proc/%d/stat" % left).read())
        os.kill(r.actor(name)["pid"], signal.SIGKILL)
        r.wait_actor(name, lambda a: a["incarnation"] == 2 and a["state"] == "ready", "comes back")
        flows(r, "ctx")
        epoch = [e.get("epoch") for e in r.status()["endpoints"].values()]
        os.kill(left, signal.SIGCONT)
        wait_for("that it wrote", lambda: r.lines("zombie"))
        flows(r, "ctx")
        flows(r, "gate")
        check([e.get("epoch") for e in r.status()["endpoints"].values()] == epoch, "it moved the epoch")
        check(r.actor("ctx")["incarnation"] == (2 if name == "ctx" else 1), "the context was harmed")
        whole(r)
        check(r.end() == 0, "exit code")
        r.nothing_left()


def a_sensors_zombie_writes_where_nobody_reads(build):
    zombie(build, "beat")


def a_contexts_zombie_writes_where_nobody_reads(build):
    zombie(build, "ctx")


def a_hosts_zombie_writes_where_nobody_reads(build):
    zombie(build, "vm")


def soft_alone_kills_nobody(build):
    with running(build, chain(ctx="], soft: 200ms, hard: 0")) as r:
        r.running()
        flows(r, "ctx")
        pid = r.actor("ctx")["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_for("word of it", lambda: "ctx: no progress" in r.stderr())
        os.kill(pid, signal.SIGCONT)
        wait_for("word of it", lambda: "ctx: goes on" in r.stderr())
        check(r.actor("ctx")["pid"] == pid, "it was not killed")
        check(r.end() == 0, "exit code")
        whole(r)


def who_works_is_left_alone(build):
    with running(build, chain(ctx="]" + LIMITS, gate="]" + LIMITS, beat="]" + LIMITS)) as r:
        before = {n: a["pid"] for n, a in r.running()["actors"].items()}
        time.sleep(2)
        after = {n: a["pid"] for n, a in r.running()["actors"].items()}
        check(before == after and "no progress" not in r.stderr(), r.stderr())
        check(r.end() == 0, "exit code")


def a_crash_leaves_a_report(build):
    with running(build, chain()) as r:
        r.running()
        flows(r, "ctx")
        check(r.vmsig("status", "--why", "ctx") == "it has not crashed\n", "nothing yet")
        os.kill(r.actor("ctx")["pid"], signal.SIGSEGV)
        r.wait_actor("ctx", lambda a: a["incarnation"] == 2 and a["state"] == "ready", "back")
        os.kill(r.status()["pid"], signal.SIGKILL)  # the next supervisor knows it, too
        wait_for("another", lambda: r.status())
        report = r.vmsig("status", "--why", "ctx")
        for part in (
            r"^ctx, incarnation 1, pid \d+: signal 11 \(Segmentation fault\)\n",
            r"  it was ready for \d+\.\d+ s\n",
            r"  it last worked \d+\.\d+ s before its end was seen, in turn [1-9]\d*\n",
            r"  link \d+ from beat: published up to [1-9]\d*, taken up to [1-9]\d*\n    \d+: .*64 of source 8",
            r"  link \d+ to gate: published up to [1-9]\d*",
        ):
            check(re.search(part, report), "%s is not in %s" % (part, report))
        check(json.loads(r.vmsig("status", "--why", "ctx", "--json"))["why"] == report, "as JSON")
        check("no actor of that name" in r.vmsig("status", "--why", "nobody", code=1), "an unknown one")
        check(r.end() == 0, "exit code")


STALLS = """
slots: 64
endpoints:
  - {name: vm, id: 0, host: stub, stub: {memory: 16M}}
actors:
  - {name: ctx, kind: context, policies: [{source: 8, dir: up, max_inflight: 16, drop: block}]}
  - {name: gate, kind: gateway, soft: 0, hard: 0}
  - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: vm, source: 8, args: [--hz, "2000"]}
"""


def who_stalls_whom_is_named_to_the_root(build):
    with running(build, STALLS) as r:
        r.running()
        pid = r.actor("gate")["pid"]
        os.kill(pid, signal.SIGSTOP)

        def stalls():
            links = json.loads(r.vmsig("status", "--json"))["links"]
            return {(k["from"], k["to"]): k for k in links if k["stalled_ms"] > 0}

        root = wait_for("the gateway's own link stalls", lambda: stalls().get(("ctx", "gate")))
        check(root["stalled_by"] == "gate", root)
        far = wait_for("a sensor stalls", lambda: stalls().get(("beat", "ctx")))
        check(far["stalled_by"] == "gate", "the root is not named: %r" % far)
        os.kill(pid, signal.SIGCONT)
        wait_for("nobody stalls", lambda: not stalls())
        check(r.end() == 0, "exit code")


if __name__ == "__main__":
    run_cases(
        [spinning, deadlocked, stopped, soft_alone_kills_nobody, who_works_is_left_alone, a_crash_leaves_a_report,
         a_sensors_zombie_writes_where_nobody_reads, a_contexts_zombie_writes_where_nobody_reads,
         a_hosts_zombie_writes_where_nobody_reads,
         who_stalls_whom_is_named_to_the_root],
        sys.argv[1],
    )
