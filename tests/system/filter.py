"""A program of one's own in between: docs/examples/only-changes.c, from beside the topology."""
import os
import shutil
import signal

from lab import Lab, expect, main, until

RAW, CHANGED = 8, 9
TOPOLOGY = """\
endpoints:
  - {name: box, id: 0, host: stub}
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway}
  - {name: raw, kind: sensor, exec: vmsig-sensor, endpoint: box, source: 8,
     args: [--pipe, sh, -c, "i=0; while :; do echo $((i / 5)); i=$((i + 1)); sleep 0.01; done"]}
  - {name: changes, kind: actor, exec: ./only-changes, endpoint: box, source: 9}
links:
  - {from: raw, to: changes}
  - {from: changes, to: ctx}
"""
BOTH = TOPOLOGY + "  - {from: raw, to: ctx}\n"


def start(lab, topology):
    shutil.copy(os.path.join(lab.build, "examples", "only-changes"), lab.path("only-changes"))
    lab.up(topology)
    lab.tap()


def numbers(lab, source):
    return [int(e["body"]["text"]) for e in lab.events() if e["source_number"] == source]


def steps(values):
    return {b - a for a, b in zip(values, values[1:])}


def check_a_program_in_between_passes_on_what_it_likes(build):
    with Lab(build) as lab:
        start(lab, TOPOLOGY)
        until("what has changed", lambda: len(numbers(lab, CHANGED)) > 10)
        expect(steps(numbers(lab, CHANGED)) == {1}, f"{numbers(lab, CHANGED)}")
        expect(not numbers(lab, RAW), "what the sensor emits goes past the program, too")
        lab.end()


def check_with_both_links_both_get_it(build):
    with Lab(build) as lab:
        start(lab, BOTH)
        until("what has changed", lambda: len(numbers(lab, CHANGED)) > 10)
        expect(steps(numbers(lab, CHANGED)) == {1}, f"{numbers(lab, CHANGED)}")
        expect(steps(numbers(lab, RAW)) == {0, 1}, f"{numbers(lab, RAW)}")
        lab.end()


def check_killed_it_comes_back_and_misses_nothing(build):
    with Lab(build) as lab:
        start(lab, TOPOLOGY)
        until("what has changed", lambda: len(numbers(lab, CHANGED)) > 3)
        os.kill(lab.actor("changes")["pid"], signal.SIGKILL)
        until("it is back", lambda: lab.actor("changes")["restarts"] == 1)
        seen = len(numbers(lab, CHANGED))
        until("what has changed since", lambda: len(numbers(lab, CHANGED)) > seen + 3)
        # what it had in hand it sees again, and what it remembered is gone: a number may come twice, none is missing
        got = set(numbers(lab, CHANGED))
        expect(got == set(range(min(got), max(got) + 1)), f"{sorted(got)}")
        expect(all(lab.actor(n)["restarts"] == 0 for n in ("raw", "ctx", "gate", "box")), "others were restarted")
        lab.end()


if __name__ == "__main__":
    main()
