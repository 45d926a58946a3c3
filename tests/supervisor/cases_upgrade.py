#!/usr/bin/env python3
"""Another program in the supervisor's place, under load: good ones, and ones that do not take over."""
import json
import os
import signal
import subprocess
import sys
import time

from harness import chain, check, flows, processes_of, run_cases, running, wait_for, whole


def programs(r, name, supervisor=None):
    """A folder with all of vmsig's programs; the supervisor is a shell script where that is given. @S: the real one."""
    folder = os.path.join(r.folder, name)
    bins = os.path.join(r.build, "bin")
    os.mkdir(folder)
    for f in os.listdir(bins):
        if supervisor is None or f != "vmsig-supervisor":
            os.link(os.path.join(bins, f), os.path.join(folder, f))
    if supervisor is not None:
        path = os.path.join(folder, "vmsig-supervisor")
        with open(path, "w") as out:
            out.write("#!/bin/sh\n" + supervisor.replace("@S", os.path.join(bins, "vmsig-supervisor")) + "\n")
        os.chmod(path, 0o755)
    return folder


SPEAKS = '[ "$1" = --speaks ] && exec @S --speaks\n'


def pids(r):
    return {n: (a["pid"], a["incarnation"], a["restarts"]) for n, a in r.running()["actors"].items()}


def ends(r):
    check(r.end() == 0, "exit code")
    whole(r)
    r.nothing_left()


def upgraded(r, folder, *more):
    before, lab = pids(r), r.running()
    said = r.vmsig("upgrade", folder, *more)
    after = r.running()
    check(after["pid"] != lab["pid"], "the same supervisor")
    check(after["lineage"] == lab["lineage"], "another lineage")
    check(pids(r) == before, "actors were touched: %r" % pids(r))
    with open("/proc/%d/cmdline" % after["pid"]) as f:
        check(f.read().split("\0")[0] == folder + "/vmsig-supervisor", "it is another program that runs")
    return said


def an_upgrade_under_load_loses_nothing_and_touches_no_actor(build):
    with running(build, chain()) as r:
        r.running()
        flows(r, "gate")
        for i in range(3):
            said = upgraded(r, programs(r, "next%d" % i))
            check("upgraded  supervisor" in said, said)
            flows(r, "gate")
        check(json.loads(r.vmsig("status", "--json"))["programs"].endswith("/next2"), "its programs")
        pid = r.actor("ctx")["pid"]
        os.kill(pid, signal.SIGKILL)  # from here on, it is the other program's
        r.wait_actor("ctx", lambda a: a["state"] == "ready" and a["pid"] != pid, "is back")
        flows(r, "gate")
        ends(r)


def refused(r, folder, *what, options=()):
    """Nothing has changed, and the sentence says what."""
    before, supervisor = pids(r), r.running()["pid"]
    said = r.vmsig("upgrade", folder, *options, code=1)
    for w in what:
        check(w in said, "%r is not said: %s" % (w, said))
    check(pids(r) == before, "actors were touched: %r" % pids(r))
    flows(r, "gate")
    return r.running()["pid"] == supervisor


def what_does_not_speak_the_same_is_refused_with_the_present_one_in_place(build):
    with running(build, chain()) as r:
        r.running()
        cases = {"gone": (None, "No such file"),
                 "other": ('echo "vmsig-supervisor: shelf 99 keeper 2 boot 1 layout 1" >&3', "shelf 99"),
                 "quits": ("exit 7", "exit 7"),
                 "dies": ("kill -9 $$", "signal 9"),
                 "babbles": ('printf "\\033[2J" >&3', "?[2J")}
        for name, (script, what) in cases.items():
            folder = programs(r, name, script) if script else os.path.join(r.folder, name)
            if script is None:
                os.mkdir(folder)
            check(refused(r, folder, what), "%s: the supervisor was replaced" % name)
        check(r.vmsig("upgrade", r.folder + "/nowhere", code=1).count("No such file") == 1, "a path that is not there")
        upgraded(r, programs(r, "good"))
        ends(r)


def what_says_nothing_is_given_up(build):
    with running(build, chain()) as r:
        r.running()
        folder = programs(r, "mute", "exec sleep 1000")
        check(refused(r, folder, "did not say within 1 s", options=("--trial", "1s")), "it was replaced")
        ends(r)  # and no process is left


def what_does_not_take_over_gives_way_to_the_former_program(build):
    with running(build, chain()) as r:
        r.running()
        cases = {"quits": ("exit 7", "exit 7", "10s"),
                 "dies": ("kill -9 $$", "signal 9", "10s"),
                 "usage": ("exec @S --nonsense", "exit 64", "10s"),
                 "late": ("sleep 0.1; kill -9 $$", "signal 9", "10s"),
                 "hangs": ("exec sleep 1000", "not taken over after 1.5 s", "1500ms"),
                 "stops": ("kill -STOP $$", "not taken over after 1.5 s", "1500ms")}
        for name, (script, what, trial) in cases.items():
            same = refused(r, programs(r, name, SPEAKS + script), what, "the former program goes on",
                           options=("--trial", trial))
            check(not same, "%s was not tried" % name)
            check(what in r.vmsig("status"), "the status does not tell of it")
        upgraded(r, programs(r, "good"))
        ends(r)


def a_file_that_is_replaced_does_not_change_what_runs(build):
    with running(build, chain()) as r:
        r.running()
        folder, bad = programs(r, "now"), programs(r, "bad", "exit 1")
        upgraded(r, folder)
        os.replace(bad + "/vmsig-supervisor", folder + "/vmsig-supervisor")
        for _ in range(2):
            pid = r.running()["pid"]
            os.kill(pid, signal.SIGKILL)
            wait_for("another supervisor", lambda: (lambda s: s and s["pid"] != pid)(r.status()))
        flows(r, "gate")
        check(refused(r, folder, "exit 1"), "what lies there now is what is asked")
        ends(r)


def supervisors(r):
    """The processes of them, the one that is asked included."""
    return [pid for pid, line in processes_of(r.folder) if line.split()[0].endswith("/vmsig-supervisor")]


def kills_in_the_midst_of_it_leave_the_one_or_the_other(build):
    with running(build, chain(), name="k") as r:
        r.running()
        before = pids(r)
        folders = [programs(r, n, 'sleep 0.03\nexec @S "$@"') for n in ("one", "two")]
        for i in range(8):
            argv = [os.path.join(r.build, "bin/vmsig"), "upgrade", folders[i % 2], "--name", "k"]
            p = subprocess.Popen(argv, env=dict(os.environ, XDG_RUNTIME_DIR=r.folder), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
            time.sleep(0.015 * i)  # wherever that falls
            for pid in supervisors(r):
                os.kill(pid, signal.SIGKILL)
            said = p.communicate(timeout=60)[1]
            check(p.returncode in (0, 1) and (said != "") == (p.returncode == 1), "%d: %s" % (p.returncode, said))
            check(pids(r) == before, "actors were touched: %r" % pids(r))
            flows(r, "gate")
        check(len(supervisors(r)) == 1, "more than one is left")
        ends(r)


def actors_are_restarted_one_by_one_with_the_next_programs(build):
    with running(build, chain(extra='  - {name: tick, kind: sensor, exec: vmsig-sensor-tick, endpoint: vm, source: 9}\n')) as r:
        r.running()
        folder = programs(r, "next")
        before, tick = pids(r), r.actor("tick")
        plan = r.vmsig("upgrade", folder, "--actors", "--dry-run")
        check("restarted actor tick" in plan and "beat" not in plan, plan)
        check(pids(r) == before, "a dry run touches nobody")
        told = json.loads(r.vmsig("upgrade", folder, "--actors", "--json"))
        check(told["made"] and told["actors"] == ["tick"] and told["to"] == folder, told)
        now = r.running()
        check(now["actors"]["tick"]["pid"] != tick["pid"], "it was not restarted")
        check(now["actors"]["tick"]["restarts"] == 0, "it counts as a crash")
        check(os.readlink("/proc/%d/exe" % now["actors"]["tick"]["pid"]).startswith(folder), "with the former program")
        after = pids(r)
        check(all(after[n] == before[n] for n in before if n != "tick"), "others were touched")
        ends(r)


if __name__ == "__main__":
    run_cases([
        an_upgrade_under_load_loses_nothing_and_touches_no_actor,
        what_does_not_speak_the_same_is_refused_with_the_present_one_in_place,
        what_says_nothing_is_given_up,
        what_does_not_take_over_gives_way_to_the_former_program,
        a_file_that_is_replaced_does_not_change_what_runs,
        kills_in_the_midst_of_it_leave_the_one_or_the_other,
        actors_are_restarted_one_by_one_with_the_next_programs,
    ], sys.argv[1])
