"""Leases between real processes: an input library that does not come to rest, one that is killed, a grant that is
narrowed."""
import os
import shutil
import signal
import subprocess

from lab import Lab, expect, main, until

OK, NOCAP, FENCED, UNAVAILABLE, UNKNOWN = 0, 1, 4, 6, 10
INPUT, KEY_A, KEY_F2 = 0, 30, 60  # the plug-in "taker" has KEY_F2 under way until the address space ends
QUEUE = 1


class Hand:
    """A control that does as it is told."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.process = lab.start(name, [os.path.join(lab.build, "tests", "system", "prog_hand"), lab.path("s")],
                                 stdin=subprocess.PIPE, text=True)
        self.seen = 0

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def lines(self):
        return self.lab.read(self.name + ".out").splitlines()

    def says(self, *words):
        """The next line that begins so; what stands before it is passed over."""
        want = " ".join(map(str, words))

        def found():
            lines = self.lines()
            for i in range(self.seen, len(lines)):
                if lines[i].startswith(want):
                    self.seen = i + 1
                    return lines[i]
            return None
        return until(lambda: f"{self.name} does not say '{want}': {self.lines()[-5:]} {self.lab.read('up.err')[-300:]}",
                     found)

    def call(self, status, *words):
        self.do(*words)
        self.says(words[0], status)


def topology(lab, quiet, keys=""):
    shutil.copy(os.path.join(lab.build, "plugins", "taker.so"), lab.path("taker.so"))
    return f"""
endpoints: [{{name: vm, id: 0, host: stub, {quiet}}}]
actors:
  - {{name: ctx, kind: context}}
  - {{name: gate, kind: gateway, socket: s{keys}}}
"""


TAKER = "  - {name: keys, kind: sensor, exec: vmsig-sensor, endpoint: vm, source: 9, accepts: input, memctx: true, " \
        "args: [--plugin, taker.so]}\n"


def hands(lab):
    """One that holds the lease, another; and a tap that is there."""
    one, two = Hand(lab, "one"), Hand(lab, "two")
    lab.tap()
    until("the tap is there", lambda: any(e["kind"] == "snapshot-end" for e in lab.events()))
    one.call(OK, "lease", INPUT, 60000)
    return one, two


def pressed(lab):
    return [e for e in lab.events() if e["kind_number"] == 70]


def press_what_takes_long(lab, one):
    before = len(pressed(lab))
    one.do("key", KEY_F2, 1)
    until("it is under way", lambda: len(pressed(lab)) == before + 1)


def lease_at_last(two):
    until("the lease", lambda: two.do("lease", INPUT) or (two.says("lease"), two.lines()[two.seen - 1])[1] == f"lease {OK}")


def check_a_class_that_does_not_come_to_rest_is_closed_and_opens_when_it_has(build):
    with Lab(build) as lab:
        lab.up(topology(lab, "quiet: 20ms") + TAKER)
        one, two = hands(lab)
        one.call(OK, "key", KEY_A, 1)
        press_what_takes_long(lab, one)
        one.call(OK, "release", INPUT)
        two.call(UNAVAILABLE, "lease", INPUT)
        two.call(UNAVAILABLE, "lease", INPUT)
        expect("does not become quiet" in lab.read("up.err"), lab.read("up.err")[-300:])
        lab.vmsig("restart", "vm")  # its address space ends
        one.says("ended")
        lease_at_last(two)
        two.call(OK, "key", KEY_A, 1)
        lab.note_pids()
        lab.end()


def check_unquiet_kill_kills_the_vm_instead(build):
    with Lab(build) as lab:
        lab.up(topology(lab, "quiet: 20ms, unquiet: kill") + TAKER)
        one, two = hands(lab)
        before = lab.actor("vm")
        press_what_takes_long(lab, one)
        one.call(OK, "release", INPUT)
        after = until("another VM", lambda: (a := lab.actor("vm"))["state"] == "ready" and a["pid"] != before["pid"] and a)
        expect(after["incarnation"] == before["incarnation"] + 1, f"{before} {after}")
        expect("unquiet: kill" in lab.read("up.err"), lab.read("up.err")[-300:])
        two.says("ended")
        lease_at_last(two)
        lab.note_pids()
        lab.end()


def check_an_input_library_that_is_killed_leaves_nothing_held(build):
    with Lab(build) as lab:
        lab.up(topology(lab, "quiet: 20s") + TAKER)
        one, two = hands(lab)
        one.call(OK, "key", KEY_A, 1)
        press_what_takes_long(lab, one)
        os.kill(lab.actor("keys")["pid"], signal.SIGKILL)
        one.says("key", UNKNOWN)
        two.do("lease", INPUT, 0, QUEUE)
        one.call(OK, "release", INPUT)
        two.says("lease", OK)
        until("two pressed, two let go", lambda: len(pressed(lab)) == 4)
        lab.note_pids()
        lab.end()


def check_what_an_unplugged_input_library_did_not_take_is_answered(build):
    with Lab(build) as lab:
        links = "links: [{from: ctx, to: keys, slots: 16}]\n"
        lab.up(topology(lab, "quiet: 20s") + TAKER.replace("accepts", "stop: 300ms, accepts") + links)
        one, _ = hands(lab)
        os.kill(lab.actor("keys")["pid"], signal.SIGSTOP)
        for i in range(40):
            one.do("key", KEY_A, 1 - i % 2)
        until("its ring is full", lambda: any(k["to"] == "keys" and k["stalled_ms"] for k in lab.status()["links"]))
        r = lab.vmsig("unplug", "--name", "lab", "keys")  # it does not stop in time
        expect(r.returncode == 0, r.stderr)
        for i in range(40):
            one.says("key")
        words = [line for line in one.lines() if line.startswith("key")]
        killed = words.count(f"key {UNKNOWN}")
        expect(0 < killed <= 16 and killed + words.count(f"key {UNAVAILABLE}") == 40, f"{words}")
        one.call(OK, "key", KEY_A, 0)  # the host's again
        expect(len([line for line in one.lines() if line.startswith("key")]) == 41, "a second answer")
        lab.note_pids()
        lab.end()


def check_a_grant_that_is_narrowed_takes_the_lease_away(build):
    mine = f"uid: {os.getuid()}, endpoints: all"
    with Lab(build) as lab:
        lab.file("grants.yaml", f"grants: [{{{mine}, caps: all}}]\n")
        lab.up(topology(lab, "quiet: 20s", ", grants: grants.yaml"))
        one, two = hands(lab)
        one.call(OK, "key", KEY_A, 1)
        lab.file("grants.yaml", f"grants: [{{{mine}, caps: [observe, vm]}}]\n")
        expect(lab.vmsig("grants").returncode == 0, "read again")
        one.says("revoked", INPUT)
        one.call(NOCAP, "key", KEY_A, 0)
        one.call(OK, "vm", 1)
        two.call(NOCAP, "lease", INPUT)
        lab.file("grants.yaml", f"grants: [{{{mine}, caps: all}}]\n")
        expect(lab.vmsig("grants").returncode == 0, "read again")
        two.call(OK, "lease", INPUT)
        lab.end()


if __name__ == "__main__":
    main()
