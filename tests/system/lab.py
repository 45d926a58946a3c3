"""What the end-to-end checks share: a topology of real programs in a run directory of its own.

    with Lab(build) as lab:
        lab.up("endpoints: ...")        starts it (or the demo), waits until it runs
        lab.status()["actors"]          what `vmsig status --json` says
        lab.end()                       SIGINT: exit code 0, and nothing is left behind

Waiting is always polling with a deadline; DEADLINE is generous, for loaded machines.
"""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

DEADLINE = 30.0


class Failure(Exception):
    pass


def expect(condition, why):
    if not condition:
        raise Failure(why() if callable(why) else why)


def until(what, condition, deadline=DEADLINE):
    """Polls until condition() is true, and returns what it gave."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"not within {deadline:g} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Lab:
    def __init__(self, build, uid=None):
        """uid: whose programs they are; another's only as root."""
        self.build = os.path.abspath(build)
        self.bin = os.path.join(self.build, "bin")
        self.dir = tempfile.mkdtemp(prefix="vmsig-lab-")
        self.run = os.path.join(self.dir, "run")
        os.mkdir(self.run)
        for folder in (self.dir, self.run):
            os.chmod(folder, 0o755)  # actors of other uids come by
        self.user = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        if uid is not None:
            os.chown(self.run, uid, uid)
            shutil.copytree(self.bin, self.path("bin"))  # the build folder may be closed to him
            self.bin = self.path("bin")
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.run)
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # of the make that runs the tests
            self.env.pop(name, None)
        self.processes = []
        self.pids = set()
        self.front = None
        self.name = "demo"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for p in self.processes:
            if p.poll() is None:
                p.terminate()
        for p in self.processes:
            try:
                p.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- files ------------------------------------------------------------------------------------------------

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), 0o644)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), errors="replace") as f:
            return f.read()

    # ---- programs ---------------------------------------------------------------------------------------------

    def start(self, label, argv, **kw):
        """A process in the background; its output goes to LABEL.out and LABEL.err."""
        with open(self.path(label + ".out"), "w") as out, open(self.path(label + ".err"), "w") as err:
            p = subprocess.Popen(argv, **{"env": self.env, "stdin": subprocess.DEVNULL, "stdout": out, "stderr": err,
                                          "cwd": self.dir, **self.user, **kw})
        self.processes.append(p)
        return p

    def program(self, *words):
        return [os.path.join(self.bin, "vmsig"), *words]

    def vmsig(self, *words):
        """One command to its end."""
        return subprocess.run(self.program(*words), env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=DEADLINE, cwd=self.dir, **self.user)

    def up(self, topology=None, tap=False):
        """Starts a topology (text), named lab, or the demo, and waits until all of it runs."""
        files = [self.file("lab.yaml", topology)] if topology else []
        self.name = "lab" if topology else "demo"
        self.front = self.start("up", self.program("up", *files, "--json", "--tap" if tap else "--no-tap"))
        until(lambda: "it does not run; " + self.read("up.err")[-400:], self.running)
        self.note_pids()
        return self

    def running(self):
        if self.front.poll() is not None:
            raise Failure(f"up ended with {self.front.returncode}: {self.read('up.err')[-400:]}")
        s = self.try_status()
        return s and s["state"] == "running" and s

    def try_status(self):
        r = self.vmsig("status", "--name", self.name, "--json")
        return json.loads(r.stdout) if r.returncode == 0 else None

    def status(self):
        return until("status does not answer", self.try_status)

    def actor(self, name):
        return next(a for a in self.status()["actors"] if a["name"] == name)

    def note_pids(self):
        s = self.status()
        self.pids |= {s["pid"], self.front.pid} | {a["pid"] for a in s["actors"] if a["pid"] > 0}

    # ---- events -----------------------------------------------------------------------------------------------

    def tap(self, *words, label="tap"):
        return self.start(label, self.program("tap", "--name", self.name, "--json", *words))

    def events(self, label="tap"):
        """What a tap has printed up to now; a line half written is left out."""
        return [json.loads(line) for line in self.read(label + ".out").split("\n")[:-1]]

    # ---- the end ----------------------------------------------------------------------------------------------

    def end(self, signo=signal.SIGINT, code=0):
        """Has up stop everything: its exit code is `code`, and nothing is left."""
        if self.front.poll() is None:
            self.note_pids()
            self.front.send_signal(signo)
        self.ended(code)

    def ended(self, code):
        try:
            got = self.front.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Failure("up does not end; " + self.read("up.err")[-400:]) from None
        expect(got == code, f"up: exit code {got}, not {code}: {self.read('up.err')[-400:]}")
        self.nothing_left()

    def nothing_left(self):
        until(lambda: "processes gone: " + " ".join(str(p) for p in self.pids if alive(p)),
              lambda: not any(alive(p) for p in self.pids))
        left = [os.path.join(folder, f) for folder, _, files in os.walk(self.run) for f in files]
        expect(not left, f"left behind: {left}")
        expect(not os.path.exists(os.path.join(self.run, "vmsig", self.name)), "the run directory is left behind")


def screen_changes(lab, source, label="tap"):
    """What vmsig-sensor-display said (vmsig_display.h): of each event width, height, flags and rectangles."""
    out = []
    for e in lab.events(label):
        if e["source_number"] == source and e["kind_number"] == 66:
            raw = bytes.fromhex(e["body"]["hex"])
            width, height, n, flags = struct.unpack_from("=HHHH", raw)
            out.append((width, height, flags, [struct.unpack_from("=HHHH", raw, 8 + 8 * i) for i in range(n)]))
    return out


def main():
    """Runs the functions named check_* of the main module: "ok NAME" or "not ok NAME: why"."""
    if len(sys.argv) < 2:
        sys.exit("usage: SCRIPT BUILD [PATTERN]")
    for key, function in list(vars(sys.modules["__main__"]).items()):
        name = key[len("check_"):].replace("_", " ")
        if not key.startswith("check_") or (len(sys.argv) > 2 and sys.argv[2] not in name):
            continue
        try:
            function(sys.argv[1])
            print(f"ok {name}", flush=True)
        except Exception as e:  # a bug in the check is a failure of the check
            why = " ".join(f"{type(e).__name__}: {e}".split())
            print(f"not ok {name}: {why[:600]}", flush=True)
