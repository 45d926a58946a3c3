"""kill -9, role by role, under a control that stays connected."""
import json
import os
import signal
import sys
import time

from lab import Lab, alive, expect, main, until
from topologies import PLAIN


def come_back(lab, victim):
    """Kills an actor and waits for the next incarnation. How long it took is printed, not judged."""
    before = lab.actor(victim)
    start = time.monotonic()
    os.kill(before["pid"], signal.SIGKILL)

    def back():
        a = lab.actor(victim)
        return a["state"] == "ready" and a["pid"] != before["pid"]

    until(lambda: f"{victim} is back: {lab.actor(victim)}", back)
    print(f"# {victim} is back after {(time.monotonic() - start) * 1000:.0f} ms", flush=True)
    lab.note_pids()


def flow_on(lab):
    seen = len(lab.events())
    until("events flow on to the same control", lambda: len(lab.events()) > seen + 10)


def kill_one(build, victim, reconnects=False):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--source", "8")
        until("the first events", lambda: len(lab.events()) > 10)
        others = {a["name"]: a["pid"] for a in lab.status()["actors"] if a["name"] != victim}
        come_back(lab, victim)
        flow_on(lab)
        a = lab.actor(victim)
        expect(a["restarts"] == 1, f"{victim}: {a['restarts']} restarts")
        expect("signal 9" in a["last_exit"], f"last exit: {a['last_exit']}")
        for name, pid in others.items():
            a = lab.actor(name)
            expect(a["pid"] == pid and a["restarts"] == 0, f"{name} was restarted too")
        told = lab.read("tap.err")
        expect(("reconnected" in told) == reconnects, f"the control says: {told or 'nothing'}")
        seqs = [e["seq"] for e in lab.events()]
        expect(seqs == sorted(set(seqs)), "seq does not grow strictly")
        lab.end()


def check_a_sensor_comes_back(build):
    kill_one(build, "beat")


def check_the_context_comes_back(build):
    kill_one(build, "ctx")


def check_the_host_adapter_comes_back(build):
    kill_one(build, "box")


def check_the_gateway_comes_back_and_the_control_with_it(build):
    kill_one(build, "gate", reconnects=True)


def counts(events):
    """The count in each tick's body."""
    return [int.from_bytes(bytes.fromhex(e["body"]["hex"]), sys.byteorder) for e in events if e["kind_number"] == 64]


def nothing_lost(build, victim):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--source", "8")
        until("the first events", lambda: len(lab.events()) > 10)
        for _ in range(3):
            come_back(lab, victim)
            flow_on(lab)
        got = counts(lab.events())
        expect(got == list(range(got[0], got[0] + len(got))), f"a gap or a duplicate in the counts: {got}")
        lab.end()


def check_no_event_is_lost_or_doubled_by_the_death_of_the_context(build):
    nothing_lost(build, "ctx")


def check_no_event_is_lost_or_doubled_by_the_death_of_the_gateway(build):
    nothing_lost(build, "gate")


def check_no_event_is_lost_or_doubled_when_both_die_at_once(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--source", "8")
        until("the first events", lambda: len(lab.events()) > 10)
        for _ in range(2):
            pids = [lab.actor(name)["pid"] for name in ("ctx", "gate")]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            until("both are back", lambda: all(lab.actor(name)["state"] == "ready" and lab.actor(name)["pid"] not in pids
                                               for name in ("ctx", "gate")))
            flow_on(lab)
        got = counts(lab.events())
        expect(got == list(range(got[0], got[0] + len(got))), f"a gap or a duplicate in the counts: {got}")
        lab.end()


def check_the_death_of_the_host_adapter_moves_the_epoch_and_others_do_not(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        epoch = lab.status()["endpoints"][0]["epoch"]
        for victim in ("beat", "ctx", "gate"):
            come_back(lab, victim)
        expect(lab.status()["endpoints"][0]["epoch"] == epoch, "another actor's death moved the epoch")
        come_back(lab, "box")
        until("a new epoch", lambda: lab.status()["endpoints"][0]["epoch"] > epoch)
        r = lab.vmsig("send", "--name", "lab", "box", "key", "a")
        expect(r.returncode == 0, f"a key after that: {r.stdout} {r.stderr}")
        lab.end()


def check_the_supervisor_comes_back_and_the_actors_stay(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--source", "8")
        before = lab.status()
        os.kill(before["pid"], signal.SIGKILL)

        def back():
            s = lab.try_status()
            return s and s["pid"] != before["pid"] and s["state"] == "running" and s

        after = until("a new supervisor", back)
        lab.note_pids()
        expect([a["pid"] for a in after["actors"]] == [a["pid"] for a in before["actors"]], "actors were restarted")
        flow_on(lab)
        come_back(lab, "ctx")
        flow_on(lab)
        lab.end()


def check_upgrades_lose_nothing_on_the_way_to_a_control(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--source", "8")
        until("the first events", lambda: len(lab.events()) > 10)
        r = lab.vmsig("upgrade", "--name", "lab", "--actors", "--dry-run")
        expect(r.returncode == 0 and all(f"actor {n}\n" in r.stdout for n in ("beat", "ctx", "gate", "box")), r.stdout)
        for _ in range(3):
            before = lab.status()
            r = lab.vmsig("upgrade", "--name", "lab")
            expect(r.returncode == 0, f"upgrade: {r.returncode}: {r.stderr}")
            after = lab.status()
            expect(before["pid"] != after["pid"], "the supervisor is the same")
            for a, b in zip(before["actors"], after["actors"]):
                expect((a["pid"], a["incarnation"]) == (b["pid"], b["incarnation"]), f"{a['name']} was touched")
            flow_on(lab)
            lab.note_pids()
        got = counts(lab.events())
        expect(got == list(range(got[0], got[0] + len(got))), f"a gap or a duplicate in the counts: {got}")
        r = lab.vmsig("upgrade", "--name", "lab", "--actors")
        expect(r.returncode == 0, f"upgrade: {r.returncode}: {r.stderr}")
        flow_on(lab)
        expect(lab.read("tap.out").count('"kind":"lost"') == 0, "something was told as lost")
        lab.end()


FRAGILE = """\
endpoints:
  - {{name: box, id: 0, host: stub, stub: {{memory: 16M}}}}
actors:
  - {{name: ctx, kind: context, exec: {0}/tests/system/prog_fragile}}
  - {{name: gate, kind: gateway}}
  - {{name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: box, source: 8, args: [--hz, "50"]}}
  - {{name: pipe, kind: sensor, exec: vmsig-sensor, endpoint: box, source: 9, args: [--pipe, sh, -c,
     "read a < go; echo before; echo deadly to who takes it apart; echo after; exec sleep 1000"]}}
"""


def check_an_event_that_kills_the_context_is_told_as_lost(build):
    with Lab(build) as lab:
        os.mkfifo(lab.path("go"))
        os.chmod(lab.path("go"), 0o666)
        lab.up(FRAGILE.format(lab.build))
        lab.tap()
        until("the first events", lambda: len(lab.events()) > 10)
        with open(lab.path("go"), "w") as go:
            go.write("now\n")

        def of_pipe():
            return [e for e in lab.events() if e["source_number"] == 9 or e["kind"] == "lost"]

        until(lambda: f"all three are told of: {of_pipe()}", lambda: len(of_pipe()) >= 3)
        before, lost, after = of_pipe()
        expect(bytes.fromhex(before["body"]["hex"]) == b"before", before)
        expect(lost["body"]["why"] == "poison" and lost["body"]["count"] == 1, lost)
        expect(bytes.fromhex(after["body"]["hex"]) == b"after", after)
        until("it is back", lambda: lab.running() and lab.actor("ctx")["state"] == "ready")
        expect(lab.actor("ctx")["restarts"] == 3, lab.actor("ctx"))
        flow_on(lab)
        got = counts([e for e in lab.events() if e["source_number"] == 8])
        expect(got == list(range(got[0], got[0] + len(got))), f"a gap or a duplicate in the counts: {got}")
        lab.note_pids()
        lab.end()


def keeper_of(lab):
    with open(f"/proc/{lab.front.pid}/task/{lab.front.pid}/children") as f:
        return int(f.read().split()[0])


def check_the_death_of_the_keeper_is_an_orderly_stop(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        os.kill(keeper_of(lab), signal.SIGKILL)
        lab.ended(1)
        expect("keeper" in lab.read("up.err"), lab.read("up.err")[-300:])


def check_the_death_of_keeper_and_supervisor_stops_the_actors(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        for pid in (keeper_of(lab), lab.status()["pid"]):
            os.kill(pid, signal.SIGKILL)
        lab.front.wait(30)
        until("the actors are gone", lambda: not any(alive(p) for p in lab.pids))
        lab.up(PLAIN).end()  # what they left behind is no hindrance


def check_too_many_deaths_end_the_topology_as_failed(build):
    with Lab(build) as lab:
        lab.up(PLAIN.replace("kind: gateway", "kind: gateway, audit: audit.log") +
               "  - {name: weak, kind: sensor, exec: vmsig-sensor, endpoint: box, source: 10, "
               "args: [--pipe, sleep, \"1000\"]}\n")
        lab.tap()
        text = lab.start("text", lab.program("tap", "--name", "lab", "--kind", "state", "--count", "1"))
        until("the tap is there", lambda: any(e["kind"] == "snapshot-end" for e in lab.events()))
        while lab.front.poll() is None:
            s = lab.try_status()
            weak = s and next(a for a in s["actors"] if a["name"] == "weak")
            if weak and weak["pid"] > 0:
                lab.pids.add(weak["pid"])
                try:
                    os.kill(weak["pid"], signal.SIGKILL)
                except ProcessLookupError:
                    pass
        lab.ended(3)
        expect("weak" in lab.read("up.err"), lab.read("up.err")[-300:])
        said = [e for e in lab.events() if e["kind"] == "state" and e["source"] == "seam"]
        expect(len(said) == 1 and said[0]["endpoint"] == 0 and said[0]["body"]["failed"] == "weak", f"{said}")
        text.wait(30)
        expect("weak FAILED: its restarts are exhausted" in lab.read("text.out"), lab.read("text.out"))
        shown = lab.vmsig("audit", "show", lab.path("audit.log"), "--json").stdout
        expect(sum(e.get("what") == "failed" for e in map(json.loads, shown.splitlines())) == 1, shown[-300:])


if __name__ == "__main__":
    main()
