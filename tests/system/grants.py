"""Grants that change while controls are connected."""
import os
import signal

from lab import Lab, expect, main, until
from topologies import TWO


def write(lab, *lines):
    lab.file("grants.yaml", "grants:\n" + "".join(f"  - {{{line}}}\n" for line in lines))


def mine(endpoints="all", caps="all"):
    return f"uid: {os.getuid()}, endpoints: {endpoints}, caps: {caps}, priority: 1"


def endpoints_after(lab, n):
    return {e["endpoint"] for e in lab.events()[n:] if e["source_number"] == 8}


def check_a_narrowed_grant_binds_a_connected_control_at_once(build):
    with Lab(build) as lab:
        write(lab, mine())
        lab.up(TWO)
        lab.tap()
        until("events of both", lambda: endpoints_after(lab, 0) == {0, 1})
        write(lab, mine(endpoints="[two]"))
        r = lab.vmsig("grants", "--name", "lab")
        expect(r.returncode == 0, f"{r.returncode}: {r.stderr}")
        until("only events of two", lambda: endpoints_after(lab, len(lab.events()) - 20) == {1})
        before = len(lab.events())
        until("more of them", lambda: len(lab.events()) > before + 20)
        expect(endpoints_after(lab, before) == {1}, "events of the other")
        write(lab, mine())
        expect(lab.vmsig("grants").returncode == 0, "widened again")
        until("events of both again", lambda: endpoints_after(lab, before) == {0, 1})
        lab.end()


def check_who_has_no_grant_any_more_is_dropped(build):
    with Lab(build) as lab:
        write(lab, mine())
        lab.up(TWO)
        tap = lab.tap()
        until("events", lab.events)
        write(lab, f"uid: {os.getuid() + 1}, endpoints: all, caps: all")
        expect(lab.vmsig("grants").returncode == 0, "reloaded")
        until("the tap is refused", lambda: tap.poll() is not None)
        expect("no grant" in lab.read("tap.err"), lab.read("tap.err"))
        lab.end()


def check_a_wrong_file_changes_nothing(build):
    with Lab(build) as lab:
        write(lab, mine())
        lab.up(TWO)
        lab.tap()
        until("events", lab.events)
        write(lab, mine(caps="[fly]"))
        r = lab.vmsig("grants")
        expect(r.returncode == 1 and "grants.yaml:2:" in r.stderr and "fly" in r.stderr, f"{r.returncode}: {r.stderr}")
        before = len(lab.events())
        until("events go on", lambda: endpoints_after(lab, before) == {0, 1})
        lab.end()


def kill_and_await(lab, pid_of):
    before = pid_of()
    os.kill(before, signal.SIGKILL)
    until("another process", lambda: pid_of() not in (before, 0) and lab.running())
    lab.note_pids()


def check_a_file_that_is_broken_or_gone_later_hinders_no_successor_of_the_supervisor(build):
    with Lab(build) as lab:
        write(lab, mine())
        lab.up(TWO)
        write(lab, mine(endpoints="[two]"))
        expect(lab.vmsig("grants").returncode == 0, "narrowed")
        lab.tap()
        until("events of two", lambda: endpoints_after(lab, 0) == {1})
        for breaks in (lambda: write(lab, "nonsense"), lambda: os.unlink(lab.path("grants.yaml"))):
            breaks()
            kill_and_await(lab, lambda: lab.status()["pid"])
            r = lab.vmsig("reload", "--name", "lab")
            expect(r.returncode == 2 and "grants" in r.stderr, f"reload: {r.returncode}: {r.stdout} {r.stderr}")
            kill_and_await(lab, lambda: lab.actor("gate")["pid"])
            before = len(lab.events())
            until("more of them", lambda: len(lab.events()) > before + 20)
        expect(endpoints_after(lab, 0) == {1}, "events of the other: the grants are not as they were read")
        lab.end()


if __name__ == "__main__":
    main()
