"""Controls: what they see, drive, and may not."""
import json
import os
import socket

from lab import Lab, expect, main, until
from topologies import PLAIN, TWO


def check_a_tap_gets_the_memctx_and_can_map_its_ram(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--kind", "memctx", "--count", "1")
        e = until("a memctx", lab.events)[0]
        expect("RAM mapped read-only" in e.get("note", ""), f"{e}")
        expect(e["body"]["root"] > 0 and e["epoch"] > 0, f"{e}")
        lab.end()


def check_a_key_arrives_in_the_guest_where_memwatch_sees_it(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--source", "9")
        lab.tap("--kind", "memctx", "--count", "1", label="there")
        until("the control is connected", lambda: lab.events("there"))
        seen = len(lab.events())
        r = lab.vmsig("send", "--name", "lab", "box", "key", "a", "--json")
        expect(r.returncode == 0 and json.loads(r.stdout)["status"] == "ok", f"{r.returncode}: {r.stdout} {r.stderr}")
        until("memwatch reports a change", lambda: len(lab.events()) > seen)
        lab.end()


def check_every_command_has_a_result(build):
    with Lab(build) as lab:
        lab.up(PLAIN)

        def send(*words):
            return lab.vmsig("send", "--name", "lab", "0", *words)

        for words in (("key", "ctrl+alt+delete"), ("type", "Hello, world!"), ("button", "left"), ("rel", "-5", "3"),
                      ("abs", "100", "32767"), ("pause",), ("resume",), ("vm", "stop"), ("vm", "cont"), ("vm", "query"),
                      ("memwrite", "0x2000", "0xff:1")):
            r = send(*words)
            expect(r.returncode == 0 and r.stdout.startswith("ok"), f"{words}: {r.returncode} {r.stdout} {r.stderr}")
        expect("running" in send("vm", "query").stdout, "the VM does not run")
        r = lab.vmsig("send", "--name", "lab", "7", "pause")
        expect(r.returncode == 1 and not r.stdout.startswith("ok"), f"an endpoint that is not there: {r.stdout}")
        epoch = lab.status()["endpoints"][0]["epoch"]
        r = send("reset")
        expect(r.returncode == 0, f"reset: {r.stdout} {r.stderr}")
        until("a new epoch", lambda: lab.status()["endpoints"][0]["epoch"] > epoch)
        lab.end()


def check_the_example_control_does_what_it_says(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        code = lab.start("example", [os.path.join(lab.build, "examples", "press-key"), "lab"]).wait(30)
        told = lab.read("example.out") + lab.read("example.err")
        expect(code == 0 and "the key is down in the guest" in told, f"{code}: {told}")
        lab.end()


def grants(lab, uid, endpoints):
    lab.file("grants.yaml", f"grants:\n  - {{uid: {uid}, endpoints: {endpoints}, caps: all, priority: 1}}\n")


def check_a_control_gets_nothing_of_an_endpoint_it_may_not_see(build):
    with Lab(build) as lab:
        grants(lab, os.getuid(), "[two]")
        lab.up(TWO)
        lab.tap()
        until("events of its own endpoint", lambda: len([e for e in lab.events() if e["source_number"] == 8]) > 20)
        foreign = [e for e in lab.events() if e["endpoint"] != 1 and e["source"] != "seam"]
        expect(not foreign, f"events of the other endpoint: {foreign[:2]}")
        r = lab.vmsig("send", "--name", "lab", "0", "key", "a")
        expect(r.returncode == 1, f"a command to the other endpoint: {r.stdout}")
        r = lab.vmsig("send", "--name", "lab", "1", "key", "a")
        expect(r.returncode == 0, f"a command to its own: {r.stdout} {r.stderr}")
        lab.end()


def check_without_a_grant_nothing_comes_and_nothing_goes(build):
    with Lab(build) as lab:
        grants(lab, os.getuid() + 1, "all")
        lab.up(TWO)
        for words in (("tap", "--count", "1"), ("send", "0", "key", "a")):
            r = lab.vmsig(*words, "--name", "lab", "--timeout", "5s")
            expect(r.returncode == 1 and not r.stdout and "grant" in r.stderr,
                   f"{words[0]}: {r.returncode}: {r.stdout} {r.stderr}")
        lab.end()


def check_two_senders_at_once_never_share_a_lease(build):
    with Lab(build) as lab:
        lab.up(PLAIN)
        first = lab.start("first", lab.program("send", "--name", "lab", "0", "type", "a" * 250))
        words = set()
        while first.poll() is None:
            words.add(lab.vmsig("send", "--name", "lab", "0", "key", "b").stdout.split(":")[0].strip())
        expect(first.returncode in (0, 1), f"the first ended with {first.returncode}")
        words.add(lab.read("first.out").split(":")[0].strip())
        expect(words <= {"ok", "held"}, f"{words}")
        lab.end()


# ---- controls that misbehave ----------------------------------------------------------------------------------


def was_dropped(sock):
    """Reads to the end: True when the other side ended it."""
    sock.settimeout(30)
    try:
        while sock.recv(70000):
            pass
        return True
    except ConnectionError:
        return True
    except socket.timeout:
        return False


def misbehave(build, frame):
    with Lab(build) as lab:
        lab.up(PLAIN)
        lab.tap("--source", "8")
        until("events", lambda: len(lab.events()) > 5)
        log = len(lab.read("up.err"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            s.connect(lab.status()["controls"][0]["socket"])
            s.send(frame)
            expect(was_dropped(s), "the client was not dropped")
        until("the reason in the log", lambda: "gate: " in lab.read("up.err")[log:])
        seen = len(lab.events())
        until("the others go on", lambda: len(lab.events()) > seen + 20)
        expect(lab.read("tap.err") == "", f"the other control: {lab.read('tap.err')}")
        expect(lab.actor("gate")["restarts"] == 0, "the gateway was restarted")
        lab.end()


def check_a_client_that_sends_garbage_is_dropped(build):
    misbehave(build, b"\xff" * 100)


def check_a_client_that_sends_an_oversized_frame_is_dropped(build):
    misbehave(build, b"\x0a" + b"x" * 100000)


def check_a_client_that_speaks_another_version_is_dropped(build):
    misbehave(build, bytes([0x0a, 2, 0x08, 99]))  # hello{version: 99}


if __name__ == "__main__":
    main()
