"""What is wrong is told in one sentence, and nothing is started."""
import os
import re
import socket

from lab import Lab, expect, main
from topologies import PLAIN

HEAD = "endpoints:\n  - {name: box, id: 0, host: stub}\nactors:\n"
BODY = "  - {name: ctx, kind: context}\n  - {name: gate, kind: gateway}\n"
TICK = "kind: sensor, exec: vmsig-sensor-tick, endpoint: "

# name: (text, line or None, a word of the sentence)
WRONG = {
    "an unknown key": (HEAD + "  - {name: ctx, kind: context, pace: fast}\n  - {name: gate, kind: gateway}\n", 4, "pace"),
    "a duplicate key": (HEAD + "  - {name: ctx, kind: context, kind: context}\n", 4, "kind"),
    "a duplicate name": (HEAD + BODY + "  - {name: ctx, kind: gateway}\n", 6, "ctx"),
    "a missing program": (HEAD + BODY + "  - {name: b, kind: sensor, exec: ./nope, endpoint: box, source: 8}\n", 6, "nope"),
    "a cycle of after": (HEAD + BODY + "  - {name: a, " + TICK + "box, source: 8, after: [b]}\n"
                         "  - {name: b, " + TICK + "box, source: 9, after: [a]}\n", None, "after"),
    "an id beyond 63": ("endpoints:\n  - {name: box, id: 64, host: stub}\nactors:\n" + BODY, 2, "id"),
    "a ring size that is no power of two": ("slots: 1000\n" + HEAD + BODY, 1, "slots"),
    "an unknown endpoint": (HEAD + BODY + "  - {name: b, " + TICK + "no, source: 8}\n", 6, "no"),
    "a source that is not a sensor's": (HEAD + BODY + "  - {name: b, " + TICK + "box, source: 3}\n", 6, "source"),
    "broken YAML": ("endpoints: [\n", None, ""),
    "an empty file": ("", None, ""),
}


def one_wrong(build, text, line, word):
    with Lab(build) as lab:
        path = lab.file("bad.yaml", text)
        for command in ("check", "up"):
            r = lab.vmsig(command, path)
            sentence = r.stderr.strip()
            expect(r.returncode == 2, f"{command}: exit code {r.returncode}: {sentence}")
            expect(len(sentence.split("\n")) == 1, f"{command}: more than one line: {sentence}")
            place = re.search(r"bad\.yaml:(\d+):(\d+): ", sentence)
            expect(place, f"{command}: no file:line:column in: {sentence}")
            expect(line is None or int(place[1]) == line, f"{command}: line {place[1]}, not {line}: {sentence}")
            expect(word in sentence, f"{command}: '{word}' is not in: {sentence}")
        expect(os.listdir(lab.run) == [], f"something was made: {os.listdir(lab.run)}")


def add(name, case):
    globals()["check_" + name.replace(" ", "_")] = lambda build: one_wrong(build, *case)


for _name, _case in WRONG.items():
    add(_name, _case)


def check_an_unreadable_file(build):
    with Lab(build) as lab:
        for path in (lab.path("none.yaml"), lab.dir):
            for command in ("check", "up"):
                r = lab.vmsig(command, path)
                expect(r.returncode == 2 and path in r.stderr, f"{command}: {r.returncode}: {r.stderr}")


def check_a_grants_file_that_is_wrong(build):
    with Lab(build) as lab:
        lab.file("grants.yaml", "grants:\n  - {uid: 0, endpoints: all, caps: [fly], priority: 1}\n")
        path = lab.file("bad.yaml", HEAD + BODY.replace("gateway", "gateway, grants: grants.yaml"))
        for command in ("check", "up"):
            r = lab.vmsig(command, path)
            expect(r.returncode == 2 and re.search(r"grants\.yaml:2:\d+: ", r.stderr) and "fly" in r.stderr,
                   f"{command}: {r.returncode}: {r.stderr}")


def check_a_control_socket_that_is_in_use(build):
    with Lab(build) as lab:
        lab.name = "lab"
        path = lab.path("taken.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.bind(path)
            s.listen()
            r = lab.vmsig("up", lab.file("lab.yaml", PLAIN.replace("kind: gateway", f"kind: gateway, socket: {path}")))
            expect(r.returncode == 1, f"exit code {r.returncode}: {r.stderr}")
            expect(path in r.stderr and "in use" in r.stderr, r.stderr)
        lab.nothing_left()


def check_a_run_directory_without_space(build):
    if os.getuid() != 0 or os.system("unshare -m true 2>/dev/null") != 0:
        return  # it takes a file system of one's own to fill
    with Lab(build) as lab:
        mount = f"mount -t tmpfs -o size=4k,nr_inodes=1 none {lab.run}"
        up = " ".join(lab.program("up", lab.file("lab.yaml", PLAIN)))
        code = lab.start("full", ["unshare", "-m", "sh", "-c", f"{mount} && exec {up}"]).wait(30)
        told = lab.read("full.err")
        expect(code == 1, f"exit code {code}: {told}")
        expect(lab.run in told and "No space" in told, told)


def check_an_actor_that_never_becomes_ready(build):
    with Lab(build) as lab:
        lab.name = "lab"
        text = PLAIN + "  - {name: dead, kind: sensor, exec: /bin/false, endpoint: box, source: 12, restarts: 1}\n"
        code = lab.start("up", lab.program("up", lab.file("lab.yaml", text))).wait(60)
        told = lab.read("up.err")
        expect(code == 3 and "dead" in told, f"exit code {code}: {told[-300:]}")
        lab.nothing_left()


if __name__ == "__main__":
    main()
