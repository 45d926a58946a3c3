"""Who does not take what is his: where events go meanwhile, who waits for whom, and what is told of it afterwards."""
import os
import signal
import struct

from lab import Lab, expect, main, until

TOPOLOGY = """
endpoints:
  - {{name: vm, id: 0, host: stub, stub: {{memory: 16M}}}}
actors:
  - {{name: ctx, kind: context{ctx}}}
  - {{name: gate, kind: gateway, soft: 0, hard: 0{gate}}}
  - {{name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: vm, source: 8, args: [--hz, "{hz}"]}}
"""


def link(lab, name):
    return next(k for k in lab.status()["links"] if (k["from"], k["to"]) == name)


def ticks(lab, label="tap"):
    """The numbers that the sensor counts; what is told as lost: (why, how many)."""
    numbers, lost = [], []
    for e in lab.events(label):
        if e["kind"] == "lost":
            lost.append((e["body"]["why"], e["body"]["count"]))
        elif e["source_number"] == 8:
            numbers.append(struct.unpack("=Q", bytes.fromhex(e["body"]["hex"]))[0])
    return numbers, lost


def accounted_for(numbers, lost):
    """In order, none twice, and as many told as lost as there are none of."""
    expect(all(a < b for a, b in zip(numbers, numbers[1:])), "out of order, or doubled")
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    expect(sum(n for _, n in lost) == missing, f"{missing} are missing, told as lost: {lost[:5]}")


def dropped(build, policy):
    with Lab(build) as lab:
        lab.up(TOPOLOGY.format(ctx=f", policies: [{{source: 8, dir: up, max_inflight: 16, drop: {policy}}}]", gate="",
                               hz=2000))
        lab.tap("--source", "8")
        until("events", lambda: len(lab.events()) > 10)
        gate = lab.actor("gate")["pid"]
        os.kill(gate, signal.SIGSTOP)
        stalled = until("the gateway's link stalls", lambda: (k := link(lab, ("ctx", "gate")))["stalled_ms"] and k)
        expect(stalled["stalled_by"] == "gate", f"{stalled}")
        before = link(lab, ("beat", "ctx"))["events"]
        until("the sensor goes on", lambda: link(lab, ("beat", "ctx"))["events"] > before + 500)
        root = link(lab, ("ctx", "gate"))
        expect(root["stalled_ms"] > stalled["stalled_ms"], f"for how long: {stalled}, then {root}")
        others = [k for k in lab.status()["links"] if k["stalled_ms"] > 1000 and k["to"] != "gate"]
        expect(not others, f"somebody else waits: {others}")
        os.kill(gate, signal.SIGCONT)
        seen = len(lab.events())
        until("nobody stalls", lambda: not any(k["stalled_ms"] for k in lab.status()["links"]))
        until("events again", lambda: len(lab.events()) > seen + 500 and lab.events()[-1]["kind"] != "lost")
        numbers, lost = ticks(lab)
        accounted_for(numbers, lost)
        expect(lost and {why for why, _ in lost} == {policy}, f"{lost[:5]}")
        lab.end()


def check_under_oldest_a_stopped_gateway_stalls_no_sensor_and_the_run_is_told(build):
    dropped(build, "oldest")


def check_under_newest_a_stopped_gateway_stalls_no_sensor_and_the_run_is_told(build):
    dropped(build, "newest")


def check_a_stopped_control_stalls_nobody_and_is_told_what_it_missed(build):
    with Lab(build) as lab:
        lab.up(TOPOLOGY.format(ctx="", gate=", state: 1280K", hz=10000))  # its log bears a second or so
        slow = lab.tap("--source", "8", label="slow")
        lab.tap("--source", "8", "--count", "1000", label="other")
        until("events", lambda: len(lab.events("slow")) > 10)
        os.kill(slow.pid, signal.SIGSTOP)
        before, stalled = link(lab, ("ctx", "gate"))["events"], []

        def flows_on():
            links = lab.status()["links"]
            stalled.extend(k for k in links if k["stalled_ms"] > 1000)
            return any(k["from"] == "ctx" and k["to"] == "gate" and k["events"] > before + 20000 for k in links)

        until("the others go on", flows_on)
        expect(not stalled, f"somebody waits: {stalled[:2]}")
        until("the other control has what it wants", lambda: len(lab.events("other")) == 1000)
        os.kill(slow.pid, signal.SIGCONT)
        until("it is told", lambda: any(e["kind"] == "lost" for e in lab.events("slow")))
        at = len(lab.events("slow"))
        until("and goes on", lambda: len(lab.events("slow")) > at + 1000)
        numbers, lost = ticks(lab, "slow")
        expect({why for why, _ in lost} == {"window"}, f"{lost[:5]}")
        expect(all(a < b for a, b in zip(numbers, numbers[1:])), "out of order, or doubled")
        missing = numbers[-1] - numbers[0] + 1 - len(numbers)
        expect(0 < missing <= sum(n for _, n in lost), f"{missing} are missing, told as lost: {lost[:5]}")
        lab.end()


if __name__ == "__main__":
    main()
