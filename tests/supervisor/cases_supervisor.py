#!/usr/bin/env python3
"""The supervisor with actors that do what they are told (prog_actor.c): order, restarts, limits, ends, adoption."""
import contextlib
import os
import random
import signal
import socket
import stat
import sys
import time

from harness import (Run, alive, chain, check, flows, names, processes_of, run_cases, running, wait_for, whole)

def starts_and_stops_in_order(build):
    with running(build, chain()) as r:
        r.running()
        check(names(r.lines("start")) == ["gate", "ctx", "vm", "beat"], "started: %r" % r.lines("start"))
        check(r.end() == 0, "exit code")
        check(names(r.lines("stop")) == ["beat", "ctx", "gate", "vm"], "stopped: %r" % r.lines("stop"))
        check(r.stderr() == "", "it is quiet when all is well: " + r.stderr())


def leaves_nothing_behind(build):
    with running(build, chain(beat=', "--child"]')) as r:
        r.running()
        child = wait_for("the child", lambda: r.lines("child"))[0][3]
        check(alive(child), "the actor's own child lives")
        check(r.end(signal.SIGINT) == 0, "exit code")
        wait_for("the orphan's end", lambda: not alive(child))
        r.nothing_left()


def a_killed_actor_comes_back_alone(build):
    with running(build, chain()) as r:
        before = r.running()["actors"]
        for name in ("beat", "ctx", "vm", "gate"):
            flows(r, "gate")
            os.kill(before[name]["pid"], signal.SIGKILL)
            after = r.wait_actor(name, lambda a: a["state"] == "ready" and a["pid"] != before[name]["pid"], "back")
            check(after["incarnation"] == 2 and after["restarts"] == 1, "counts: %r" % after)
            check(after["last_exit"] == "signal 9 (Killed)", "last exit: %r" % after)
            now = r.status()["actors"]
            check(all(now[n]["pid"] == before[n]["pid"] for n in now if n != name), "others were touched: %r" % now)
            before = now
        flows(r, "gate")
        flows(r, "vm")
        whole(r)
        check("ctx: killed by signal 9 (Killed), restarting (1 of 5 in 10 s)\n" in r.stderr(), r.stderr())
        check(r.end() == 0, "exit code")
        whole(r)
        r.nothing_left()


def events_survive_kills_of_both_ends(build):
    with running(build, "limits: none\n" + chain()) as r:
        r.running()
        for i in range(12):
            pids = {n: a["pid"] for n, a in r.status()["actors"].items()}
            victims = [("beat", "ctx"), ("ctx", "gate"), ("ctx",), ("vm", "ctx", "beat")][i % 4]
            for name in victims:
                os.kill(pids[name], signal.SIGKILL)
            for name in victims:
                r.wait_actor(name, lambda a: a["state"] == "ready" and a["pid"] != pids[name], "back")
        flows(r, "gate")
        check(r.end() == 0, "exit code")
        whole(r)


def a_host_starts_above_its_last_epoch(build):
    with running(build, chain()) as r:
        s = r.running()
        check(s["endpoints"]["vm"]["epoch"] == 2, "the first one moved from 1 to 2: %r" % s["endpoints"])
        os.kill(s["actors"]["vm"]["pid"], signal.SIGKILL)
        r.wait_actor("vm", lambda a: a["incarnation"] == 2 and a["state"] == "ready", "back")
        boots = [(i, x) for _, n, i, x in r.lines("boot") if n == "vm"]
        check(boots == [(1, 1), (2, 3)], "epoch base of each incarnation: %r" % boots)
        e = r.status()["endpoints"]["vm"]
        check(e["incarnation"] == 2 and e["epoch"] == 4 and e["state"] == "ready", "the endpoint: %r" % e)


def not_ready_in_time_counts_as_a_crash(build):
    with running(build, chain(beat=', "--hang"], ready: 100ms, restarts: 1')) as r:
        check(r.exit_code() == 3, "exit code")
        check("beat: killed by signal 9 (Killed): not READY within 0.1 s, restarting (1 of 1" in r.stderr(), r.stderr())
        check("FAILED" in r.stderr(), r.stderr())
        check(names(r.lines("stop")) == ["ctx", "gate", "vm"], "the others stopped in order: %r" % r.lines("stop"))
        r.nothing_left()


def too_many_crashes_fail_the_topology(build):
    with running(build, chain(beat=', "--exit-later=7"], restarts: 3, window: 20s')) as r:
        check(r.exit_code() == 3, "exit code")
        check(len(names(r.lines("start"))) == 3 + 4, "started once and three times again: %r" % r.lines("start"))
        check("beat: ended with exit 7, FAILED: restarted 3 times in 20 s" in r.stderr(), r.stderr())
        r.nothing_left()


def what_it_says_last_is_told(build):
    with running(build, chain(beat=', "--exit-at-start=1"], restarts: 1')) as r:
        check(r.exit_code() == 3, "exit code")
        check("beat: ended with exit 1: told to fail, restarting" in r.stderr(), r.stderr())


def exit_100_is_not_restarted(build):
    with running(build, chain(beat=', "--exit-later=100"]')) as r:
        r.wait_actor("beat", lambda a: a["state"] == "stopped" and a.get("last_exit") == "exit 100", "stopped")
        check(r.running()["actors"]["ctx"]["state"] == "ready", "the others go on")
        check("beat: ended with exit 100, not restarted" in r.stderr(), r.stderr())
        check(r.end() == 0, "exit code")


def restart_policies(build):
    more = """
  - {name: once, kind: sensor, @A, endpoint: vm, source: 9, restart: temporary, args: [@L, "--exit-later=1"]}
  - {name: good, kind: sensor, @A, endpoint: vm, source: 10, restart: transient, args: [@L, "--exit-later=0"]}
  - {name: bad, kind: sensor, @A, endpoint: vm, source: 11, restart: transient, restarts: 0, args: [@L, "--exit-later=1"]}
"""
    with running(build, chain(more)) as r:
        r.wait_actor("bad", lambda a: a["restarts"] >= 3, "restarted again and again")
        for name, end in (("good", "exit 0"), ("once", "exit 1")):
            r.wait_actor(name, lambda a: a["state"] == "stopped" and a.get("last_exit") == end, "done")
        for name in ("good", "once"):
            check(r.actor(name)["restarts"] == 0, name + " was restarted")
        check(r.end() == 0, "exit code")


def a_deaf_actor_is_killed(build):
    with running(build, chain(beat=', "--deaf"], stop: 100ms')) as r:
        r.running()
        check(r.end() == 0, "exit code")
        check("beat: not stopped within 0.1 s, killed" in r.stderr(), r.stderr())
        r.nothing_left()


def a_second_instance_is_refused(build):
    with running(build, chain()) as r:
        pid = r.running()["pid"]
        second = Run(build, chain(), folder=r.folder, start=False)
        second.err += "2"
        second.start()
        check(second.exit_code() == 1, "exit code of the second")
        check("it runs already (supervisor %d" % pid in second.stderr(), second.stderr())
        check(r.running()["pid"] == pid, "the first goes on")
        flows(r, "gate")
        check(r.end() == 0, "exit code of the first")
        r.nothing_left()


def what_a_dead_one_left_is_no_obstacle(build):
    with running(build, chain(), start=False) as r:
        os.makedirs(r.run_dir)
        for name in ("supervisor.sock", "gate.sock"):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.bind(r.run_dir + "/" + name)
            s.close()
        r.start()
        r.running()
        mode = os.stat(r.run_dir + "/supervisor.sock").st_mode
        check(stat.S_IMODE(mode) == 0o600, "supervisor.sock is its user's alone")
        check(r.end() == 0, "exit code")
        r.nothing_left()


def in_the_socket_s_place(build, put_there):
    with running(build, chain(), start=False) as r:
        path = r.folder + "/taken.sock"
        with open(r.file) as f:
            text = f.read().replace("kind: gateway,", "kind: gateway, socket: taken.sock,")
        with open(r.file, "w") as f:
            f.write(text)
        keep = put_there(path)
        r.start()
        check(r.exit_code() == 1, "exit code")
        check("supervisor: %s: in use" % path in r.stderr(), r.stderr())
        check(not r.lines(), "nothing was started")
        check(os.path.exists(path), "what is the other's is left alone")
        keep.close()


def a_socket_in_use_is_told(build):
    def listener(path):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.bind(path)
        s.listen()
        return s

    in_the_socket_s_place(build, listener)


def a_file_in_a_socket_s_place_is_left_alone(build):
    in_the_socket_s_place(build, lambda path: open(path, "w"))


def a_wrong_topology_starts_nothing(build):
    with running(build, chain() + "nonsense: 1\n") as r:
        check(r.exit_code() == 2, "exit code")
        check("t.yaml:" in r.stderr() and "nonsense" in r.stderr(), r.stderr())
        r.nothing_left()


def another_supervisor_takes_over(build):
    with running(build, chain()) as r:
        before = r.running()
        for _ in range(3):
            flows(r, "gate")
            os.kill(r.running()["pid"], signal.SIGKILL)
            flows(r, "gate")
            flows(r, "vm")
            after = r.running()
            check(after["lineage"] == before["lineage"], "the lineage goes on")
            check(
                {n: a["pid"] for n, a in after["actors"].items()} == {n: a["pid"] for n, a in before["actors"].items()},
                "actors were not touched: %r" % after["actors"],
            )
        os.kill(after["actors"]["ctx"]["pid"], signal.SIGKILL)
        r.wait_actor("ctx", lambda a: a["state"] == "ready" and a["incarnation"] == 2, "back under the new one")
        flows(r, "gate")
        check(r.end() == 0, "exit code")
        check(names(r.lines("stop")) == ["beat", "ctx", "gate", "vm"], "stopped: %r" % r.lines("stop"))
        whole(r)
        r.nothing_left()


def deaths_together_with_the_supervisor(build):
    with running(build, "limits: none\n" + chain()) as r:
        r.running()
        for i in range(8):
            s = r.running()
            victims = [("ctx",), ("beat", "gate"), ("vm",), ("ctx", "gate", "beat", "vm")][i % 4]
            first = [] if i % 2 else [s["pid"]]
            for pid in first + [s["actors"][n]["pid"] for n in victims] + ([s["pid"]] if i % 2 else []):
                os.kill(pid, signal.SIGKILL)
            for name in victims:
                old = s["actors"][name]["pid"]
                r.wait_actor(name, lambda a: a["state"] == "ready" and a["pid"] != old, "back")
            flows(r, "gate")
        check(r.end() == 0, "exit code")
        whole(r)
        r.nothing_left()


def random_kills_lose_nothing(build):
    seed = int.from_bytes(os.urandom(4), "little")
    rnd = random.Random(seed)
    with running(build, "limits: none\n" + chain()) as r:
        r.running()
        for _ in range(25):
            s = r.status()
            pids = [a["pid"] for a in s["actors"].values()] + [s["pid"]] if s else []
            victims = [p for p in pids if p and rnd.random() < 0.4]
            rnd.shuffle(victims)
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(rnd.random() * 0.03)  # wherever that finds them
        flows(r, "gate")
        flows(r, "vm")
        check(r.end() == 0, "exit code; seed %d" % seed)
        bad = r.lines("broken", "misplaced")
        check(not bad, "seed %d: lost, doubled or out of order: %r" % (seed, bad[:5]))
        r.nothing_left()


def epochs_stand_still_while_supervisors_die(build):
    """A successor tells of an epoch only once it knows it: whoever asks is told the same, whenever."""
    with running(build, chain()) as r:
        host = r.running()["endpoints"]["vm"]
        told, pids = [], set()
        for kill in range(31):
            kill_due = time.monotonic() + random.random() * 0.03 + 0.01
            for_whom = len(pids)

            def ask():
                s = r.status()
                if s:
                    told.append(s["endpoints"]["vm"])
                    pids.add(s["pid"])
                return s and len(pids) > for_whom and time.monotonic() > kill_due and s["pid"]

            pid = wait_for("another supervisor's answer", ask)
            os.kill(pid, signal.SIGKILL)
        wait_for("the last one", lambda: r.status())
        check(host["epoch"] > 0 and all(e == host for e in told), "told: %r, not %r" % ([e for e in told if e != host][:3], host))
        check(len(pids) == 31, "supervisors: %d" % len(pids))
        check(r.end() == 0, "exit code")
        whole(r)


def stops_though_the_supervisor_dies_in_it(build):
    with running(build, chain(beat=', "--deaf"], stop: 500ms')) as r:
        pid = r.running()["pid"]
        r.child.send_signal(signal.SIGTERM)
        wait_for("the stop", lambda: "beat" in names(r.lines("stop")))
        os.kill(pid, signal.SIGKILL)
        check(r.exit_code() == 0, "exit code")
        check(names(r.lines("stop"))[-3:] == ["ctx", "gate", "vm"], "in order: %r" % r.lines("stop"))
        r.nothing_left()


def without_its_keeper_it_stops_in_order(build):
    with running(build, chain()) as r:
        r.running()
        r.child.kill()
        wait_for("the end of all", lambda: not processes_of(r.folder))
        check(names(r.lines("stop")) == ["beat", "ctx", "gate", "vm"], "stopped: %r" % r.lines("stop"))
        check("the keeper is gone" in r.stderr(), r.stderr())
        r.nothing_left()


def a_stopped_consumer_delays_a_restart_and_loses_nothing(build):
    with running(build, "limits: none\n" + chain()) as r:
        r.running()
        flows(r, "ctx")
        ctx = r.actor("ctx")["pid"]
        os.kill(ctx, signal.SIGSTOP)
        held = False
        for _ in range(12):
            old = r.actor("beat")["pid"]
            os.kill(old, signal.SIGKILL)
            wait_for("its successor, or word of what it waits for", lambda: r.actor("beat")["pid"] not in (0, old)
                     and r.actor("beat")["state"] == "ready" or "beat: waits for ctx to take" in r.stderr())
            held = r.actor("beat")["state"] == "waiting"
            if held:
                break
        check(held, "there is an end to the rings that may wait")
        os.kill(ctx, signal.SIGCONT)
        r.wait_actor("beat", lambda a: a["state"] == "ready", "back")
        flows(r, "ctx")
        check(r.end() == 0, "exit code")
        whole(r)


def without_keeper_and_supervisor_actors_stop(build):
    with running(build, chain()) as r:
        s = r.running()
        r.child.send_signal(signal.SIGSTOP)  # so that it cannot start another
        os.kill(s["pid"], signal.SIGKILL)
        r.child.kill()
        wait_for("the end of all", lambda: not processes_of(r.folder))
        check(sorted(names(r.lines("stop"))) == ["beat", "ctx", "gate", "vm"], "each in its own order")
        r.start()
        r.running()
        check(r.end() == 0, "and nothing is in the way of the next")
        r.nothing_left()


def a_uid_for_each_or_a_word_about_it(build):
    with running(build, chain()) as r:
        s = r.running()
        p = s["protections"]
        uids = {a["uid"] for a in s["actors"].values()}
        if os.geteuid() == 0:
            check(p["own uids"]["holds"] == 1 and len(uids) == 4 and 0 not in uids, "uids: %r" % uids)
            for a in s["actors"].values():
                check(os.stat("/proc/%d" % a["pid"]).st_uid == a["uid"], "it runs as that uid")
        else:
            check(p["own uids"]["holds"] == 0 and "not malice" in p["own uids"]["why"], "%r" % p)
        check(p["not dumpable"]["holds"] == 1, "%r" % p)


def stays_small_over_many_restarts(build):
    """No fd is lost: as many after twenty restarts of everything as after four."""
    with running(build, "limits: none\n" + chain()) as r:
        s = r.running()
        pids = [s["pid"], r.child.pid]
        count = lambda: [len(os.listdir("/proc/%d/fd" % p)) for p in pids]
        counts = []
        for i in range(20):
            old = {n: a["pid"] for n, a in r.status()["actors"].items()}
            for pid in old.values():
                os.kill(pid, signal.SIGKILL)
            for name in old:
                r.wait_actor(name, lambda a: a["state"] == "ready" and a["pid"] != old[name], "back")
            flows(r, "gate")
            if i in (3, 19) and os.geteuid() == 0:
                counts.append(count())
        check(len(counts) < 2 or all(b <= a + 4 for a, b in zip(*counts)), "fds: %r" % counts)
        whole(r)


if __name__ == "__main__":
    run_cases(
        [
            starts_and_stops_in_order,
            leaves_nothing_behind,
            a_killed_actor_comes_back_alone,
            events_survive_kills_of_both_ends,
            a_host_starts_above_its_last_epoch,
            not_ready_in_time_counts_as_a_crash,
            too_many_crashes_fail_the_topology,
            what_it_says_last_is_told,
            exit_100_is_not_restarted,
            restart_policies,
            a_deaf_actor_is_killed,
            a_second_instance_is_refused,
            what_a_dead_one_left_is_no_obstacle,
            a_socket_in_use_is_told,
            a_file_in_a_socket_s_place_is_left_alone,
            a_wrong_topology_starts_nothing,
            another_supervisor_takes_over,
            deaths_together_with_the_supervisor,
            random_kills_lose_nothing,
            epochs_stand_still_while_supervisors_die,
            stops_though_the_supervisor_dies_in_it,
            without_its_keeper_it_stops_in_order,
            without_keeper_and_supervisor_actors_stop,
            a_stopped_consumer_delays_a_restart_and_loses_nothing,
            a_uid_for_each_or_a_word_about_it,
            stays_small_over_many_restarts,
        ],
        sys.argv[1],
    )
