"""On a machine of several memory nodes (a pretended one, tests/plugins/fake_numa.c) a link's memory lies on the node of
the CPU that its consumer is pinned to; the memory of who is pinned to none is left alone."""
import os

from lab import Lab, expect, main

PREFERRED, MOVE = 1, 2  # of mbind(2)

LINKS = """
endpoints:
  - {name: vm, id: 0, host: stub, stub: {memory: 4M, hz: 0}}
actors:
  - {name: ctx, kind: context, cpu: 0}
  - {name: gate, kind: gateway, socket: control.sock%s}
  - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: vm, source: 8}
"""


def pretend(lab, build, **env):
    lab.env.update(LD_PRELOAD=os.path.abspath(os.path.join(build, "plugins", "fake_numa.so")),
                   FAKE_NUMA=lab.path("moved"), **env)


def moved(lab):
    """Of each memfd that was moved: node, policy, flags, bytes."""
    if not os.path.exists(lab.path("moved")):
        return {}
    rows = (line.split(" ", 4) for line in lab.read("moved").splitlines())
    return {row[4].strip(): tuple(int(v) for v in row[:4]) for row in rows}


def check_a_links_memory_lies_on_its_consumers_node(build):
    several = len(os.sched_getaffinity(0)) > 1
    with Lab(build) as lab:
        pretend(lab, build)
        lab.up(LINKS % (", cpu: 1" if several else ""))
        links = {str(link["id"]): link for link in lab.status()["links"]}
        seen = moved(lab)
        node_of = {"ctx": 1, "gate": 0} if several else {"ctx": 1}
        for link in links.values():
            want = node_of.get(link["to"])
            rings = [v for name, v in seen.items() if name.startswith(f"vmsig ring {link['id']}.")]
            if want is None:
                expect(not rings, f"link {link['id']} to {link['to']}, who is pinned to none, was moved: {rings}")
                continue
            expect(rings, f"link {link['id']} to {link['to']} was not placed: {seen}")
            expect(all(r[:3] == (want, PREFERRED, MOVE) and r[3] >= link["slots"] * 64 for r in rings),
                   f"link {link['id']} to {link['to']}: {rings}, expected node {want}")
        near = next(p for p in lab.status()["protections"] if p["name"] == "near memory")
        expect("2 memory nodes" in near["why"], near["why"])
        lab.end()


def check_memory_that_cannot_be_moved_is_told_and_stays(build):
    with Lab(build) as lab:
        pretend(lab, build, FAKE_NUMA_FAILS="1")
        lab.up(LINKS % "")
        said = lab.read("up.err") + lab.read("up.out")
        expect("it stays where it is" in said, f"not said: {said[-600:]}")
        expect("near processor 0 of ctx" in said, f"not said: {said[-600:]}")
        lab.end()


if __name__ == "__main__":
    main()
