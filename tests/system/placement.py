"""`cpu: auto` on this machine: a slow chain is together, a busy one spread, and status says so."""
import os

from lab import Lab, expect, main, until

SLOW = """
endpoints:
  - {name: vm, id: 0, host: stub, stub: {memory: 4M, hz: 0}, cpu: auto}
actors:
  - {name: ctx, kind: context, cpu: auto}
  - {name: gate, kind: gateway, socket: control.sock, cpu: auto}
  - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: vm, source: 8, args: [--hz, "20"], cpu: auto}
"""
BUSY = """{name: flood, kind: sensor, exec: vmsig-sensor, endpoint: vm, source: 9, args: [--pipe, "yes"], cpu: auto}"""


def placed(lab, names):
    """The CPU of each, by status; None: not all of them are placed yet. What is said is what the kernel says."""
    actors = {a["name"]: a for a in lab.status()["actors"]}
    if not all(n in actors and actors[n]["placement"] for n in names):
        return None
    for n in names:
        try:
            kernel = os.sched_getaffinity(actors[n]["pid"])
        except ProcessLookupError:
            return None
        if kernel != {actors[n]["cpu"]}:
            return None
    return {n: (actors[n]["cpu"], actors[n]["placement"]) for n in names}


def check_a_slow_chain_is_together_and_a_busy_one_spread(build):
    slow = ["vm", "ctx", "gate", "beat"]
    with Lab(build) as lab:
        lab.up(SLOW)
        cpus = until("the slow chain is placed", lambda: placed(lab, slow))
        expect(len({cpu for cpu, _ in cpus.values()}) == 1, f"not together: {cpus}")
        several = len(os.sched_getaffinity(0)) > 1
        word = "together" if several else "one CPU"
        expect(all(word in why for _, why in cpus.values()), f"no reason: {cpus}")
        text = lab.vmsig("status", "--name", "lab").stdout
        expect(word in text, f"not said: {text}")
        if several:
            r = lab.vmsig("plug", "--name", "lab", BUSY)
            expect(r.returncode == 0, f"plug: {r.stderr}")
            last = {}

            def spread():
                last["cpus"] = placed(lab, slow + ["flood"]) or {}
                return last["cpus"] and all(why.startswith("spread") for _, why in last["cpus"].values()) and last["cpus"]

            cpus = until(lambda: f"the busy chain is spread: {last}", spread, 60)
            expect(len({cpu for cpu, _ in cpus.values()}) > 1, f"all on one: {cpus}")
        lab.end()


if __name__ == "__main__":
    main()
