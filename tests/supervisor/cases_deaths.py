#!/usr/bin/env python3
"""The supervisor dies at a chosen moment of what it does for an actor; its successor must neither forget nor repeat."""
import os
import signal
import subprocess
import sys

from harness import chain, check, flows, run_cases, running, wait_for, whole

MANY = 60  # words that the supervisor says for one restart, at most


def started(r, name):
    return max((i for _, n, i, _ in r.lines("start") if n == name), default=0)


def numbers(r, what, name):
    return {i: x for _, n, i, x in r.lines(what) if n == name}


def heard_to_its_end(build, dead):
    topology = "limits: none\n" + chain().replace('"--emit=500"', '"--gate", "--burst=20"')
    with running(build, topology, start=False) as r:
        gate = r.log + ".gate"
        open(gate, "w").close()
        r.start()
        r.running()
        os.remove(gate)
        os.kill(r.actor("beat")["pid"], signal.SIGKILL)
        r.wait_actor("beat", lambda a: a["incarnation"] == 2 and a.get("pid"), "waits at its gate")
        supervisor, actor = r.status()["pid"], r.actor("beat")["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        open(gate, "w").close()
        filled = wait_for("a ring that is filled", lambda: numbers(r, "burst", "beat").get(2))
        if dead:
            os.kill(actor, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        r.wait_actor("beat", lambda a: a["incarnation"] > 2 and a["state"] == "ready", "comes back")
        bases = numbers(r, "base", "beat")
        check(bases[3] == filled, "its successor begins at %d, and its ring ended at %d" % (bases[3], filled))
        all_of_it = numbers(r, "burst", "beat")[3]
        wait_for("all of it taken", lambda: r.status()["links"]["beat>ctx"].get("events") == all_of_it)
        whole(r)


def an_actor_that_was_starting_is_heard_to_its_end(build):
    """It maps its ring, fills it and says so, while the supervisor stands still; then that dies."""
    heard_to_its_end(build, False)


def an_actor_that_was_starting_and_died_is_heard_to_its_end(build):
    """Likewise, and it dies itself before there is a supervisor again."""
    heard_to_its_end(build, True)


def trace(supervisor, n):
    """Kills the supervisor before the n-th thing that it says from now on."""
    tracer = subprocess.Popen(
        ["strace", "-qq", "-o", "/dev/null", "-e", "trace=sendmsg", "-e", "signal=none",
         "-e", "inject=sendmsg:signal=KILL:when=%d" % n, "-p", str(supervisor)])

    def attached():
        with open("/proc/%d/status" % supervisor) as f:
            return tracer.poll() is not None or "TracerPid:\t0\n" not in f.read()

    wait_for("strace to attach", attached)
    check(tracer.poll() is None, "strace cannot attach")
    return tracer


def dies_at_word(r, victim, n):
    """The actor dies, and the supervisor before the n-th thing that it then says. False: it says less."""
    a = r.wait_actor(victim, lambda a: a["state"] == "ready", "is ready")
    tracer = trace(r.status()["pid"], n)
    try:
        try:
            os.kill(a["pid"], signal.SIGKILL)
        except ProcessLookupError:  # what it was told, or not, died with the last supervisor: it is started anew
            tracer.terminate()
            tracer.wait()
            return dies_at_word(r, victim, n)
        wait_for("%s again, or no supervisor" % victim,
                 lambda: tracer.poll() is not None or started(r, victim) > a["incarnation"])
        r.wait_actor(victim, lambda b: b["incarnation"] > a["incarnation"] and b["state"] == "ready", "comes back")
        return tracer.poll() is not None
    finally:
        tracer.terminate()
        tracer.wait()


def at_each_word_of_a_restart(build):
    """Also: an actor that was buried, and shelved as dead, before the keeper knew."""
    if os.geteuid() != 0 or subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"]).returncode:
        print("# left out: only root may trace a supervisor, with strace")
        return
    with running(build, "limits: none\n" + chain()) as r:
        r.running()
        for victim in ("beat", "gate"):
            n = 1
            while n < MANY and dies_at_word(r, victim, n):
                n += 1
            check(5 < n < MANY, "%d words for %s" % (n, victim))
            flows(r, "gate")
            flows(r, "ctx")
            whole(r)
        check(r.end() == 0, "the end: " + r.stderr()[-300:])
        r.nothing_left()


if __name__ == "__main__":
    run_cases([an_actor_that_was_starting_is_heard_to_its_end,
               an_actor_that_was_starting_and_died_is_heard_to_its_end, at_each_word_of_a_restart], sys.argv[1])
