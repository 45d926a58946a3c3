"""The audit log of a running topology, and `vmsig audit` on it."""
import json
import os
import signal
import subprocess

from lab import Lab, expect, main, until

AUDITED = """\
endpoints:
  - {name: box, id: 0, host: stub, quiet: 20s, stub: {memory: 16M}}
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway, audit: audit.log%s}
"""
SMALL = ", options: {audit_bytes: \"4096\"}"
VALID, TAMPERED, TORN, GAP = 0, 1, 2, 3


def verify(lab, *words, name="audit.log"):
    r = lab.vmsig("audit", "verify", lab.path(name), "--json", *words)
    return r.returncode, json.loads(r.stdout) if r.stdout else {"why": r.stderr}


def show(lab, *words):
    r = lab.vmsig("audit", "show", lab.path("audit.log"), "--json", *words)
    expect(r.returncode == 0, f"show: {r.returncode}: {r.stderr}")
    return [json.loads(line) for line in r.stdout.splitlines()]


def send(lab, *words):
    return lab.vmsig("send", "--name", "lab", "0", *words)


def begin(lab, more=""):
    lab.up(AUDITED % more)


def used(build, more="", commands=1):
    """A log that has seen some life, of a topology that has ended."""
    lab = Lab(build)
    begin(lab, more)
    for i in range(commands):
        for words in (("key", "a"), ("memwrite", "0x2000", f"{i}:1"), ("pause",), ("resume",)):
            r = send(lab, *words)
            expect(r.returncode == 0, f"{words}: {r.stdout} {r.stderr}")
    lab.end()
    return lab


def check_intents_come_before_results(build):
    with used(build, commands=2) as lab:
        code, v = verify(lab)
        expect(code == VALID and v["sealed"] and v["checkpoints_keyed"] == v["checkpoints"] > 0, f"{code}: {v}")
        intents, results = set(), 0
        for e in show(lab):
            if e.get("what") == "intent":
                intents.add(e["corr"])
            if e.get("what") == "result" and e["kind"] != "lease-request":
                expect(e["corr"] in intents, f"no intent before {e}")
                results += 1
        expect(results >= 8, f"{results} results")
        for what in ("attached", "grant", "granted", "released", "epoch", "detached"):
            expect(any(e.get("what") == what for e in show(lab)), f"no {what}")
        expect(len(show(lab, "--last", "3")) == 3, "--last 3")
        r = lab.vmsig("audit", "show", lab.path("audit.log"))
        expect("endpoint 0" in r.stdout and "checkpoint" in r.stdout, r.stdout[:300])


def check_the_files_are_its_owners_alone(build):
    with used(build) as lab:
        for name in ("audit.log", "audit.log.key", "audit.log.seal"):
            mode = os.stat(lab.path(name)).st_mode & 0o777
            expect(mode == 0o600, f"{name}: {mode:o}")
        log = open(lab.path("audit.log"), "rb").read()
        for name in ("audit.log.key", "audit.log.seal"):
            key = bytes.fromhex(lab.read(name).split()[-1])
            expect(key not in log and key.hex().encode() not in log, f"{name} is in the log")
        expect(lab.read("audit.log.key") != lab.read("audit.log.seal"), "the key has not moved on")


def check_verify_tells_valid_tampered_torn_and_gap(build):
    with used(build) as lab:
        path = lab.path("audit.log")
        log = open(path, "rb").read()
        code, v = verify(lab)
        anchor = v["anchor"]
        expect(code == VALID, f"{code}: {v}")
        expect(verify(lab, "--anchor", anchor)[0] == VALID, "with its anchor")

        def left(data, want, *words):
            with open(path, "wb") as f:
                f.write(data)
            got, v = verify(lab, *words)
            expect(got == want and v["why"], f"{got}, not {want}: {v}")
            return v["why"]

        flipped = bytearray(log)
        flipped[len(log) // 2] ^= 4
        expect("record " in left(flipped, TAMPERED), "it names the record")
        left(log[:-5], TORN)
        first = int.from_bytes(log[:4], "little") + 8
        left(log[first:], GAP)
        last = show_sizes(log)[-1]
        left(log[:-last], GAP, "--anchor", anchor)
        left(log[: len(log) // 2], TORN)
        r = lab.vmsig("audit", "verify", lab.path("nothing"))
        expect(r.returncode == 66 and "nothing" in r.stderr, f"{r.returncode}: {r.stderr}")
        r = lab.vmsig("audit", "verify", path, "--anchor", "x")
        expect(r.returncode == 64, f"{r.returncode}: {r.stderr}")


def show_sizes(log):
    sizes, at = [], 0
    while at < len(log):
        sizes.append(int.from_bytes(log[at:at + 4], "little") + 8)
        at += sizes[-1]
    return sizes


def check_another_key_does_not_fit(build):
    with used(build) as lab:
        other = lab.file("other.key", "0" * 64 + "\n")
        code, v = verify(lab, "--key", other)
        expect(code == TAMPERED and "key" in v["why"], f"{code}: {v}")
        os.unlink(lab.path("audit.log.key"))
        code, v = verify(lab)
        expect(code == VALID and not v["keyed"], f"without a key: {code}: {v}")


def check_a_key_may_be_given(build):
    with Lab(build) as lab:
        lab.file("audit.log.key", "ab" * 32 + "\n")
        begin(lab)
        send(lab, "key", "a")
        lab.end()
        code, v = verify(lab)
        expect(code == VALID and v["checkpoints_keyed"] > 0, f"{code}: {v}")
        expect(lab.read("audit.log.key") == "ab" * 32 + "\n", "it is as it was given")


def check_a_gateway_that_was_killed_is_succeeded(build):
    with Lab(build) as lab:
        begin(lab)
        for i in range(4):
            send(lab, "memwrite", "0x2000", f"{i}:1")
            pid = lab.actor("gate")["pid"]
            os.kill(pid, signal.SIGKILL)
            until("the gateway is back", lambda: lab.actor("gate")["pid"] not in (0, pid)
                  and lab.actor("gate")["state"] == "ready")
            code, v = verify(lab)
            expect(code == VALID, f"{code}: {v}")
        lab.note_pids()
        lab.end()
        code, v = verify(lab)
        expect(code == VALID and v["checkpoints_keyed"] == v["checkpoints"] > 0, f"{code}: {v}")
        lives = [e["count"] for e in show(lab) if e.get("what") == "started"]
        expect(lives == [1, 2, 3, 4, 5], f"{lives}")


def check_a_torn_end_is_cut_off_and_noted(build):
    with used(build) as lab:
        with open(lab.path("audit.log"), "ab") as f:
            f.write(b"\x40\x00\x00\x00half")
        expect(verify(lab)[0] == TORN, "it is torn")
        begin(lab)
        lab.end()
        code, v = verify(lab)
        expect(code == VALID, f"{code}: {v}")
        expect([e["count"] for e in show(lab) if e.get("what") == "torn"] == [8], "the note")


def check_files_follow_each_other(build):
    with Lab(build) as lab:
        begin(lab, SMALL)
        follow = lab.start("follow", lab.program("audit", "follow", "--name", "lab", "--json"))
        for i in range(12):
            r = send(lab, "type", "hello")
            expect(r.returncode == 0, r.stdout + r.stderr)
        until("three files", lambda: os.path.exists(lab.path("audit.log.000003")))
        send(lab, "key", "a")
        last = show(lab, "--last", "1")[0]["seq"]
        until("the follower is there", lambda: lab.events("follow") and lab.events("follow")[-1]["seq"] >= last)
        follow.terminate()
        seqs = [e["seq"] for e in lab.events("follow")]
        expect(seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"the follower missed some: {seqs}")
        lab.end()
        code, v = verify(lab)
        expect(code == VALID and v["files"] >= 4 and v["checkpoints_keyed"] == v["checkpoints"], f"{code}: {v}")
        begin(lab, SMALL)
        lab.end()
        expect(verify(lab)[0] == VALID, "after another start")
        os.rename(lab.path("audit.log.000002"), lab.path("gone"))
        code, v = verify(lab)
        expect(code == GAP and "missing" in v["why"], f"{code}: {v}")


def check_a_damaged_file_is_kept_as_it_is(build):
    with used(build) as lab:
        log = bytearray(open(lab.path("audit.log"), "rb").read())
        log[len(log) // 2] ^= 1
        with open(lab.path("audit.log"), "wb") as f:
            f.write(log)
        begin(lab)
        until("the next file", lambda: os.path.exists(lab.path("audit.log.000001")))
        until("it is open", lambda: send(lab, "memwrite", "0x2000", "1:1").returncode == 0)
        lab.end()
        expect(open(lab.path("audit.log.000001"), "rb").read() == log, "the damaged file was changed")
        expect(verify(lab)[0] == TAMPERED, "and it shows")
        os.rename(lab.path("audit.log.000001"), lab.path("kept"))
        expect(any(e.get("what") == "damaged" for e in show(lab)), "the note")


def check_a_log_without_its_keys_is_not_gone_on_with(build):
    with used(build) as lab:
        os.unlink(lab.path("audit.log.key"))
        os.rename(lab.path("audit.log.seal"), lab.path("kept"))
        front = lab.start("up", lab.program("up", "lab.yaml", "--no-tap"))
        expect(front.wait(30) == 1, f"{front.returncode}")
        expect("audit.log.key" in lab.read("up.err"), lab.read("up.err"))
        os.rename(lab.path("kept"), lab.path("audit.log.seal"))
        begin(lab)
        lab.end()
        expect(verify(lab)[0] == VALID, "the sealing key alone will do")


def check_a_log_has_one_writer(build):
    with Lab(build) as lab:
        begin(lab)
        other = lab.start("other", lab.program("up", "lab.yaml", "--no-tap", "--name", "other"))
        expect(other.wait(30) == 1, f"{other.returncode}")
        expect("another topology" in lab.read("other.err"), lab.read("other.err"))
        lab.end()
        expect(verify(lab)[0] == VALID, "it is as it should be")


def check_a_gateway_that_moves_takes_its_log_along(build):
    with Lab(build) as lab:
        begin(lab)
        send(lab, "key", "a")
        lab.file("lab.yaml", AUDITED % ", socket: elsewhere.sock")
        r = lab.vmsig("reload", "--name", "lab")
        expect(r.returncode == 0, f"{r.returncode}: {r.stdout} {r.stderr}")
        until("it takes commands there", lambda: send(lab, "memwrite", "0x2000", "1:1").returncode == 0)
        lab.note_pids()
        lab.end()
        code, v = verify(lab)
        expect(code == VALID and v["checkpoints_keyed"] == v["checkpoints"] > 0, f"{code}: {v}")


def check_files_follow_each_other_while_all_are_killed(build):
    with Lab(build) as lab:
        begin(lab, SMALL)
        for i in range(6):
            lab.note_pids()
            s = lab.status()
            sender = lab.start("sender", lab.program("send", "--name", "lab", "0", "type", "x" * 60))
            victim = s["pid"] if i % 2 else lab.actor("gate")["pid"]
            until("a part more", lambda n=i: len([f for f in os.listdir(lab.dir) if f.startswith("audit.log.0")]) > n
                  or sender.poll() is not None)
            os.kill(victim, signal.SIGKILL)
            sender.wait(30)
            until("it is ready", lambda: lab.actor("gate")["state"] == "ready")
        until("it takes commands", lambda: send(lab, "memwrite", "0x2000", "1:1").returncode == 0)
        lab.end()
        code, v = verify(lab)
        expect(code == VALID and v["checkpoints_keyed"] == v["checkpoints"] > 0, f"{code}: {v}")


def audit_state(lab):
    return lab.status()["controls"][0]["audit_error"]


def limit(lab, pid, size):
    """No file of that process grows beyond size: to it, a full disk. Its own user may say so, root not everywhere."""
    subprocess.run(["prlimit", "--pid", str(pid), f"--fsize={size}:"], check=True, **lab.user)


def check_a_full_disk_closes_what_needs_a_lease(build):
    with Lab(build, uid=12345 if os.getuid() == 0 else None) as lab:
        if os.getuid() == 0:
            os.chown(lab.dir, 12345, 12345)
        begin(lab)
        pid = lab.actor("gate")["pid"]
        expect(send(lab, "memwrite", "0x2000", "1:1").returncode == 0, "before")
        limit(lab, pid, os.path.getsize(lab.path("audit.log")) + 40)
        until("it is closed", lambda: send(lab, "key", "a").stdout.startswith("unavailable"))
        r = send(lab, "memwrite", "0x2000", "2:1")
        expect(r.returncode == 1 and r.stdout.startswith("unavailable"), f"{r.stdout} {r.stderr}")
        expect(send(lab, "pause").returncode == 0, "what needs no lease goes on")
        expect(audit_state(lab) == "File too large", f"{audit_state(lab)}")
        expect("CLOSED" in lab.vmsig("status").stdout, "status says so")
        expect("audit log cannot be written" in lab.read("up.err"), "the log says so")
        expect(verify(lab)[0] == VALID, "what is there is whole")
        limit(lab, pid, "unlimited")
        until("it opens again", lambda: audit_state(lab) is None)
        r = send(lab, "memwrite", "0x2000", "3:1")
        expect(r.returncode == 0, f"{r.stdout} {r.stderr}")
        lab.end()
        expect(verify(lab)[0] == VALID, "at the end")
        lost = [e for e in show(lab) if e.get("what") == "reopened"]
        expect(lost and lost[0]["count"] > 0, "the note tells what is missing")


if __name__ == "__main__":
    main()
