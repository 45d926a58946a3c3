"""An idle topology is still: block mode, silent sensors, ten seconds."""
import time

from lab import Lab, expect, main, until
from topologies import IDLE

SECONDS = 10
CPU_NS = 10_000_000
WAKEUPS = 12


def look(pids):
    """Of each process: CPU time in ns, voluntary context switches."""
    seen = {}
    for pid in pids:
        with open(f"/proc/{pid}/schedstat") as f:
            cpu = int(f.read().split()[0])
        with open(f"/proc/{pid}/status") as f:
            seen[pid] = cpu, next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))
    return seen


def check_no_actor_works_while_nothing_happens(build):
    with Lab(build) as lab:
        lab.up(IDLE)
        actors = {a["pid"]: a["name"] for a in lab.status()["actors"]}

        def settled():  # a second almost without a wake-up: the start is over
            before = look(actors)
            time.sleep(1)
            return all(after[1] - before[pid][1] <= 2 for pid, after in look(actors).items())

        until("the start is over", settled)
        before = look(actors)
        time.sleep(SECONDS)
        after = look(actors)
        for pid, name in actors.items():
            cpu, woken = (after[pid][i] - before[pid][i] for i in (0, 1))
            expect(cpu <= CPU_NS, f"{name}: {cpu / 1e6:.1f} ms of CPU in {SECONDS} s")
            expect(woken <= WAKEUPS, f"{name}: {woken} wake-ups in {SECONDS} s")
        lab.end()


if __name__ == "__main__":
    main()
