"""`vmsig up` and `make run` from start to end, without a terminal."""
import json
import os
import signal
import subprocess

from lab import DEADLINE, Lab, alive, expect, main, until


TICKING = """
endpoints: [{name: stub, id: 0, host: stub, quiet: 20s}]
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway, socket: control.sock}
  - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: stub, source: 8, args: [--hz, "100"]}
"""


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def descendant(pid, name):
    for child in children(pid):
        found = child if name_of(child) == name else descendant(child, name)
        if found:
            return found
    return None


def check_make_run_shows_what_runs_and_live_events_and_stops_on_SIGINT(build):
    with Lab(build) as lab:
        make = lab.start("make", ["make", "--no-print-directory", "-C", os.getcwd(), "run",
                                  f"BUILD={os.path.abspath(build)}"])

        def text():
            return lab.read("make.out")

        for what in ("controls attach to", "tick", "memwatch", "vmstat", "memctx", " = 5", "sensor 10"):
            until(lambda: f"'{what}' in: {text()[-300:]} {lab.read('make.err')[-300:]}", lambda: what in text())
        front = until("vmsig below make", lambda: descendant(make.pid, "vmsig"))
        lab.pids.update({front, *children(front)})
        os.kill(front, signal.SIGINT)
        code = make.wait(DEADLINE)
        expect(code == 0, f"make run ended with {code}: {lab.read('make.err')[-300:]}")
        expect("\x1b" not in text(), "escape codes without a terminal")
        lab.nothing_left()


def check_the_demo_ends_with_each_stop_signal_and_leaves_nothing(build):
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with Lab(build) as lab:
            lab.up().end(signo)


def check_up_can_be_stopped_while_it_starts(build):
    with Lab(build) as lab:
        lab.front = lab.start("up", lab.program("up", "--no-tap"))
        keeper = until("a keeper", lambda: descendant(lab.front.pid, "vmsig-keeper"))
        lab.pids |= {lab.front.pid, keeper}
        lab.front.send_signal(signal.SIGTERM)
        lab.ended(0)


def check_a_closed_standard_output_does_not_end_the_topology(build):
    with Lab(build) as lab:
        read, write = os.pipe()
        lab.front = lab.start("up", lab.program("up"), stdout=write)
        os.close(write)
        os.read(read, 1)
        os.close(read)
        until("up says so", lambda: "standard output is closed" in lab.read("up.err"))
        until("it runs on", lab.running)
        lab.end()


def check_a_closed_standard_error_does_not_end_the_topology(build):
    with Lab(build) as lab:
        read, write = os.pipe()
        lab.front = lab.start("up", lab.program("up", "--no-tap"), stderr=write)
        os.close(write)
        os.close(read)
        until("it runs", lab.running)
        supervisor = lab.status()["pid"]
        os.kill(supervisor, signal.SIGKILL)  # of which the keeper says something
        until("another supervisor", lambda: (lab.try_status() or {}).get("pid", supervisor) != supervisor)
        os.kill(lab.actor("tick")["pid"], signal.SIGKILL)
        until("the sensor is back",
              lambda: lab.actor("tick")["restarts"] == 1 and lab.actor("tick")["state"] == "ready")
        lab.end()


def check_the_death_of_up_itself_stops_everything(build):
    with Lab(build) as lab:
        lab.up()
        lab.front.kill()
        lab.front.wait()
        lab.nothing_left()


def check_a_second_topology_of_that_name_is_refused(build):
    with Lab(build) as lab:
        lab.up()
        r = lab.vmsig("up")
        expect(r.returncode == 1 and "runs already" in r.stderr, f"{r.returncode}: {r.stderr}")
        expect(lab.running(), "the first one suffered")
        lab.end()


def check_status_names_actors_links_endpoints_and_protections(build):
    with Lab(build) as lab:
        lab.up()
        s = lab.status()
        names = {a["name"] for a in s["actors"]}
        expect({"context", "gateway", "tick", "memwatch", "vmstat", "stub"} <= names, f"actors: {names}")
        expect(all(a["state"] == "ready" and alive(a["pid"]) for a in s["actors"]), f"{s['actors']}")
        expect(s["endpoints"][0]["name"] == "stub" and s["endpoints"][0]["epoch"] > 0, f"{s['endpoints']}")
        expect(s["protections"], "no protections")
        until("events on the way to the gateway",
              lambda: any(link["events"] > 0 and link["to"] == "gateway" for link in lab.status()["links"]))
        r = lab.vmsig("status")
        expect(r.returncode == 0 and "PROTECTION" in r.stdout and "ENDPOINT" in r.stdout, r.stdout)
        lab.end()


def check_top_tells_what_an_actor_does_per_second(build):
    with Lab(build) as lab:
        lab.up(TICKING)
        r = lab.vmsig("top", "--name", "lab", "--count", "2", "--interval", "500ms", "--json")
        expect(r.returncode == 0, r.stderr)
        looks = [json.loads(line) for line in r.stdout.splitlines()]
        expect(len(looks) == 2, r.stdout)
        actors = {a["name"]: a for a in looks[1]["actors"]}
        expect(actors["beat"]["out"] > 5 and actors["beat"]["in"] == 0, f"{actors['beat']}")
        expect(actors["ctx"]["in"] > 5 and actors["ctx"]["wakeups"] > 0, f"{actors['ctx']}")
        r = lab.vmsig("top", "--name", "lab", "--count", "1", "--interval", "100ms", "--sort", "name")
        rows = [line.split()[0] for line in r.stdout.splitlines()[3:] if line]
        expect(rows == sorted(rows) and "beat" in rows, r.stdout)
        lab.end()


def uid_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Uid:"))


def check_as_root_each_actor_has_a_uid_of_its_own(build):
    if os.getuid() != 0:
        return
    with Lab(build) as lab:
        lab.up()
        uids = [uid_of(a["pid"]) for a in lab.status()["actors"]]
        expect(0 not in uids and len(set(uids)) == len(uids), f"uids: {uids}")
        expect([a["uid"] for a in lab.status()["actors"]] == uids, "status says otherwise")
        lab.end()


def check_an_ordinary_user_can_run_it(build):
    uid = 65534 if os.getuid() == 0 else None
    with Lab(build, uid) as lab:
        lab.up()
        expect({uid_of(a["pid"]) for a in lab.status()["actors"]} == {uid or os.getuid()}, "not all actors are his")
        expect(any(not p["holds"] for p in lab.status()["protections"]), "all protections are said to hold")
        r = lab.vmsig("send", "0", "key", "a")
        expect(r.returncode == 0, f"a key: {r.stdout} {r.stderr}")
        lab.end()


if __name__ == "__main__":
    main()
