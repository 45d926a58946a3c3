#!/usr/bin/env python3
"""Changes of a topology that runs: restart, plug, unplug, reload. Those who are not meant notice nothing."""
import json
import os
import re
import signal
import sys

from harness import Fail, chain, check, flows, run_cases, running, wait_for, whole

MORE = '{name: more, kind: sensor, @A, endpoint: vm, source: 9, accepts: [input], args: [@L, "--emit=300"]}'


def pids(r):
    return {n: a["pid"] for n, a in r.running()["actors"].items()}


def untouched(r, before, *but):
    after = pids(r)
    check(all(after.get(n) == p for n, p in before.items() if n not in but), "touched: %r, %r" % (before, after))
    return after


def ends(r, code=0):
    check(r.end() == code, "exit code")
    whole(r)
    check("poison" not in r.stderr() and "not its own" not in r.stderr(), r.stderr())
    r.nothing_left()


def restart_one_by_one(build):
    with running(build, chain()) as r:
        before = pids(r)
        for name in ("beat", "ctx", "gate", "vm", "ctx"):
            flows(r, "gate")
            check(r.vmsig("restart", name) == "restarted actor %s\n" % name, "what is told")
            now = untouched(r, before, name)
            check(now[name] != before[name], name + " is the same process")
            check(r.actor(name)["restarts"] == 0, "it does not count as a crash")
            before = now
            flows(r, "gate")
            flows(r, "vm")
        check("there is no actor nobody" in r.vmsig("restart", "nobody", code=1), "an unknown one is refused")
        ends(r)


def restart_of_one_that_rests(build):
    with running(build, chain(beat=', "--exit-later=100"]')) as r:
        r.wait_actor("beat", lambda a: a["state"] == "stopped" and a["incarnation"] == 1, "rests")
        r.vmsig("restart", "beat")
        r.wait_actor("beat", lambda a: a["state"] == "stopped" and a["incarnation"] == 2, "rests again")
        ends(r)


def plug_and_unplug(build):
    with running(build, chain()) as r:
        before = pids(r)
        links = set(r.status()["links"])
        for _ in range(3):
            flows(r, "gate")
            plan = r.vmsig("plug", MORE)
            check(plan.splitlines()[0] == "added     actor more" and "link  more -> ctx" in plan, plan)
            untouched(r, before)
            check(r.actor("more")["state"] == "ready", "it is ready")
            check(set(r.status()["links"]) - links == {"more>ctx", "ctx>more"}, "links: %r" % r.status()["links"])
            flows(r, "more")
            wait_for("its events at ctx", lambda: r.status()["links"]["more>ctx"]["events"] > 20)
            check("removed   actor more" in r.vmsig("unplug", "more"), "it goes")
            untouched(r, before)
            check(set(r.status()["links"]) == links, "its links are gone")
        flows(r, "gate")
        sent = [x for _, n, _, x in r.lines("sent") if n == "more"]
        taken = wait_for("three ends", lambda: (lambda u: u if len(u) == 3 else None)(
            [x for _, n, _, x in r.lines("unlink") if n == "ctx"]))
        check(taken == sent, "sent %r, taken %r" % (sent, taken))
        check(sum(1 for _, n, i, _ in r.lines("start") if n == "ctx" and i == 1) == 1, "ctx was started once")
        ends(r)


def what_cannot_be_plugged(build):
    with running(build, chain()) as r:
        before = pids(r)
        for text, why in (
            ("{name: beat, kind: sensor, @A, endpoint: vm, source: 9}", "plug:1:.*name: found beat again"),
            ("{name: x, kind: sensor, @A, endpoint: vm, source: 8}", "plug:1:.*source"),
            ("{name: x, kind: sensor, exec: nothing, endpoint: vm, source: 9}", "plug:1:.*exec: found no program"),
            ("{name: x, knid: sensor}", "plug:1:.*knid"),
            ("{name: x, kind: gateway, @A}", "endpoint vm in the gateways"),
        ):
            told = r.vmsig("plug", text, code=2)
            check(re.search(why, told) and told.count("\n") == 1, told)
        check("is an endpoint" in r.vmsig("unplug", "vm", code=2), "a host is not taken out")
        check("without a context" in r.vmsig("unplug", "ctx", code=2), "nor is what others need")
        check("there is no actor nobody" in r.vmsig("unplug", "nobody", code=2), "nor who is not there")
        check("added     actor more" in r.vmsig("plug", MORE, "--dry-run"), "a plan")
        check("more" not in untouched(r, before), "a plan is not carried out")
        flows(r, "gate")
        ends(r)


def an_actor_in_between(build):
    filter_ = """
actors:
  - {name: filter, kind: actor, @A, endpoint: vm, source: 20, args: [@L, "--emit=100"]}
  - {name: raw, kind: sensor, @A, endpoint: vm, source: 21, args: [@L, "--emit=100"]}
links:
  - {from: raw, to: filter}
  - {from: filter, to: ctx}
"""
    with running(build, chain()) as r:
        before = pids(r)
        r.vmsig("plug", filter_)
        flows(r, "filter")
        wait_for("its events at ctx", lambda: r.status()["links"]["filter>ctx"]["events"] > 5)
        check("added     link  raw -> ctx" in r.vmsig("unplug", "filter"), "a way around it")
        wait_for("events at ctx", lambda: r.status()["links"]["raw>ctx"]["events"] > 5)
        untouched(r, before)
        ends(r)


def reload_changes_what_differs(build):
    with running(build, chain()) as r:
        before = pids(r)
        check(r.vmsig("reload") == "nothing to change\n", "the same file")
        untouched(r, before)
        r.write(chain("  - " + MORE + "\n", beat=', "--x"], restarts: 9', gate="], window: 20s"))
        plan = r.vmsig("reload", "--dry-run")
        check("restarted actor beat (args, restarts)" in plan and "changed   actor gate (window)" in plan, plan)
        check("more" not in untouched(r, before), "a plan is not carried out")
        check(json.loads(r.vmsig("reload", "--json"))["made"] is True, "made")
        after = untouched(r, before, "beat")
        check(after["beat"] != before["beat"] and "more" in after, "%r" % after)
        flows(r, "gate")
        flows(r, "more")
        r.write(chain())
        plan = r.vmsig("reload")
        check("removed   actor more" in plan and "restarted actor beat" in plan, plan)
        flows(r, "gate")
        check("more" not in untouched(r, after, "beat", "more"), "it is gone")
        ends(r)


def grants_change_while_all_goes_on(build):
    with running(build, chain(), start=False) as r:
        path = r.folder + "/grants.yaml"
        with_grants = chain().replace("kind: gateway,", "kind: gateway, grants: grants.yaml,")
        with open(path, "w") as f:
            f.write("grants: [{uid: 1, endpoints: all, caps: [observe]}]\n")
        r.write(with_grants)
        r.start()
        before = pids(r)
        check(r.vmsig("reload") == "nothing to change\n", "the same")
        with open(path, "w") as f:
            f.write("grants: [{uid: 1, endpoints: all, caps: [observe, input]}]\n")
        check(r.vmsig("reload") == "changed   actor gate (grants)\n", "the plan")
        untouched(r, before)
        with open(path, "w") as f:
            f.write("grants: [{uid: 1, endpoints: all, caps: [nonsense]}]\n")
        check("nonsense" in r.vmsig("reload", code=2), "wrong grants")
        with open(path, "w") as f:
            f.write("grants: []\n")
        r.write(chain())
        check("restarted actor gate" in r.vmsig("reload"), "without any grants file")
        untouched(r, before, "gate")
        flows(r, "gate")
        ends(r)


def reload_of_what_is_wrong_changes_nothing(build):
    with running(build, chain()) as r:
        before = pids(r)
        r.write(chain() + "nonsense: 1\n")
        told = r.vmsig("reload", code=2)
        check("t.yaml:" in told and "nonsense" in told and told.count("\n") == 1, told)
        r.write(chain().replace("kind: gateway,", "kind: gateway, socket: /nowhere/at/all.sock,"))
        check("socket" in r.vmsig("reload", code=1), "a socket that cannot be made")
        untouched(r, before)
        flows(r, "gate")
        os.kill(r.status()["pid"], signal.SIGKILL)  # the next one reads what runs, not the file
        flows(r, "gate")
        untouched(r, before)
        ends(r)


def reload_adds_and_removes_an_endpoint(build):
    two = chain().replace(
        "actors:\n", '  - {name: vm2, id: 1, host: stub, @A, args: [@L, "--emit=100"]}\nactors:\n'
    ) + '  - {name: beat2, kind: sensor, @A, endpoint: vm2, source: 8, args: [@L, "--emit=100"]}\n'
    with running(build, chain()) as r:
        before = pids(r)
        r.write(two)
        plan = r.vmsig("reload")
        check("restarted actor ctx (endpoints)" in plan and "added     actor vm2" in plan, plan)
        after = untouched(r, before, "ctx", "gate")
        flows(r, "vm2")
        epoch = r.status()["endpoints"]["vm2"]["epoch"]
        r.write(chain())
        r.vmsig("reload")
        r.write(two)
        r.vmsig("reload")
        check(r.status()["endpoints"]["vm2"]["epoch"] > epoch, "an epoch came again")
        check(r.actor("vm")["pid"] == before["vm"] and r.actor("beat")["pid"] == after["beat"], "untouched")
        flows(r, "vm2")
        ends(r)


def a_ring_of_another_size(build):
    with running(build, chain()) as r:
        before = pids(r)
        r.write(chain("links:\n  - {from: beat, to: ctx, slots: 64}\n"))
        plan = r.vmsig("reload")
        check("restarted actor beat (links)" in plan and "changed   link  beat -> ctx (slots)" in plan, plan)
        untouched(r, before, "beat")
        check(r.status()["links"]["beat>ctx"]["slots"] == 64, "it has")
        flows(r, "ctx")
        ends(r)


def changes_outlive_the_supervisor(build):
    with running(build, chain()) as r:
        r.running()
        r.vmsig("plug", MORE)
        r.vmsig("unplug", "beat")
        before = pids(r)
        for _ in range(2):
            os.kill(r.running()["pid"], signal.SIGKILL)
            wait_for("another", lambda: r.status())
            check(set(untouched(r, before)) == {"vm", "ctx", "gate", "more"}, "who is there")
            flows(r, "more")
            flows(r, "gate")
        r.vmsig("unplug", "more")
        r.vmsig("plug", MORE)
        os.kill(r.actor("more")["pid"], signal.SIGKILL)
        r.wait_actor("more", lambda a: a["state"] == "ready" and a["restarts"] == 1, "back")
        flows(r, "more")
        check("added     actor beat" in r.vmsig("reload") and "more" not in pids(r), "the file says it all")
        flows(r, "gate")
        ends(r)


def a_supervisor_that_dies_in_a_change(build):
    deaf = MORE.replace("[@L", '[@L, "--deaf"').replace("}", ", stop: 500ms}")
    with running(build, "limits: none\n" + chain()) as r:
        before = pids(r)
        r.vmsig("plug", deaf)
        for name in ("more", "beat"):
            r.vmsig("unplug", "more", "--no-wait")
            os.kill(r.status()["pid"], signal.SIGKILL)
            wait_for("another", lambda: r.status())
            a = r.wait_actor("more", lambda a: a["state"] == "ready", "there again, as if nobody had asked")
            untouched(r, before)
            flows(r, "more")
        for i in range(6):
            r.vmsig(*(("unplug", "beat") if i % 2 else ("restart", "ctx")), "--no-wait")
            os.kill(r.status()["pid"], signal.SIGKILL)
            wait_for("another", lambda: r.status() and r.status()["state"] == "running")
            if i % 2:
                r.vmsig("reload")
            flows(r, "gate")
        check(r.end() == 0, "exit code")
        whole(r)
        r.nothing_left()


def groups_restart_together(build):
    for strategy, follow in (("one_for_one", []), ("rest_for_one", ["beat"]), ("one_for_all", ["gate", "beat"])):
        group = "groups: [{name: g, strategy: %s}]\nlimits: none\n" % strategy
        member = "], group: g"
        with running(build, group + chain(ctx=member, gate=member, beat=member)) as r:
            before = pids(r)
            flows(r, "gate")
            os.kill(before["ctx"], signal.SIGKILL)
            for name in ["ctx"] + follow:
                r.wait_actor(name, lambda a: a["incarnation"] == 2 and a["state"] == "ready", "back")
            untouched(r, before, "ctx", *follow)
            check(r.actor("gate")["restarts"] == 0 and r.actor("ctx")["restarts"] == 1, "who crashed is counted")
            flows(r, "gate")
            ends(r)
    with running(build, chain(ctx="], group: h")) as r:
        check(r.exit_code() == 2 and "group: found h" in r.stderr(), r.stderr())


def many_plugs_leave_nothing(build):
    with running(build, chain()) as r:
        pid = r.running()["pid"]
        count = lambda: len(os.listdir("/proc/%d/fd" % pid))
        counts = []
        for _ in range(12):
            r.vmsig("plug", MORE)
            r.vmsig("unplug", "more")
            counts.append(count() if os.geteuid() == 0 else 0)
        check(counts[-1] <= counts[2] + 2, "fds: %r" % counts)
        flows(r, "gate")
        ends(r)


if __name__ == "__main__":
    run_cases(
        [
            restart_one_by_one,
            restart_of_one_that_rests,
            plug_and_unplug,
            what_cannot_be_plugged,
            an_actor_in_between,
            reload_changes_what_differs,
            grants_change_while_all_goes_on,
            reload_of_what_is_wrong_changes_nothing,
            reload_adds_and_removes_an_endpoint,
            a_ring_of_another_size,
            changes_outlive_the_supervisor,
            a_supervisor_that_dies_in_a_change,
            groups_restart_together,
            many_plugs_leave_nothing,
        ],
        sys.argv[1],
    )
