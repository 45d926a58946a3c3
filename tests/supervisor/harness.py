"""What the scripts in this folder share: deadlines, the keeper as a child, the status by supervisor.sock, cases."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

DEADLINE = 20.0  # of every wait: for a machine that is busy


class Fail(Exception):
    pass


def wait_for(what, probe, deadline=DEADLINE):
    """The first true value of probe(); Fail when there is none in time."""
    end = time.monotonic() + deadline
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Fail("not within %g s: %s" % (deadline, what))
        time.sleep(0.005)


def check(condition, what):
    if not condition:
        raise Fail(what)


def processes_of(mark):
    """Living processes whose command line or environment names the folder of the test."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                line = f.read()
            with open("/proc/%s/stat" % pid, "rb") as f:
                state = f.read().rsplit(b")", 1)[1].split()[0]
        except OSError:
            continue
        if mark.encode() in line and state not in (b"Z", b"X"):
            found.append((int(pid), line.replace(b"\0", b" ").decode()))
    return found


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            return f.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


# ---- protobuf, as much of it as a status takes


def decode(data):
    """[(field, value)]: numbers, or bytes of strings, messages and doubles."""
    at, fields = 0, []

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        else:
            size = varint() if tag & 7 == 2 else 8 if tag & 7 == 1 else 4
            value = data[at : at + size]
            at += size
        fields.append((tag >> 3, value))
    return fields


ACTOR = {1: "name", 2: "kind", 3: "state", 4: "pid", 5: "uid", 6: "incarnation", 7: "restarts", 9: "last_exit"}
LINK = {1: "id", 2: "from", 3: "to", 4: "slots", 5: "fill", 6: "events"}
ENDPOINT = {1: "id", 2: "name", 4: "state", 5: "epoch", 6: "incarnation"}
PROTECTION = {1: "name", 2: "holds", 3: "why"}
STATUS = {1: "name", 3: "pid", 4: "lineage", 6: "state"}


def record(data, names):
    return {
        names[f]: v.decode() if isinstance(v, bytes) else v for f, v in decode(data) if f in names
    }


def parse_status(data):
    s = record(data, STATUS)
    parts = {7: ("actors", ACTOR), 8: ("links", LINK), 9: ("endpoints", ENDPOINT), 10: ("protections", PROTECTION)}
    for key, _ in parts.values():
        s[key] = {}
    for field, value in decode(data):
        if field in parts:
            key, names = parts[field]
            r = record(value, names)
            s[key][r["name"] if "name" in r else r["from"] + ">" + r["to"]] = r
    return s


# ---- a topology that runs


class Run:
    """A folder of its own, the keeper with a supervisor as this script's child, its words in self.stderr()."""

    def __init__(self, build, topology, name="t", folder=None, start=True):
        self.build = os.path.abspath(build)
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="vmsig-")
        os.chmod(self.folder, 0o777)
        self.log = os.path.join(self.folder, "log")
        open(self.log, "a").close()
        os.chmod(self.log, 0o666)
        self.name = name
        self.file = os.path.join(self.folder, name + ".yaml")
        self.write(topology)
        self.err = os.path.join(self.folder, name + ".err")
        self.run_dir = os.path.join(self.folder, "vmsig", name)
        self.child = None
        if start:
            self.start()

    def start(self):
        bins = os.path.join(self.build, "bin")
        env = dict(os.environ, XDG_RUNTIME_DIR=self.folder)
        argv = [bins + "/vmsig-keeper", bins + "/vmsig-supervisor", "--programs", bins, "--topology", self.file]
        with open(self.err, "wb") as err:
            self.child = subprocess.Popen(argv, stderr=err, stdin=subprocess.DEVNULL, env=env)

    def stderr(self):
        with open(self.err, errors="replace") as f:
            return f.read()

    def lines(self, *what):
        """What actors noted: [(what, name, incarnation, number)]."""
        with open(self.log) as f:
            all_lines = [line.split() for line in f.read().splitlines()]
        return [(w, n, int(i), int(x)) for w, n, i, x in all_lines if not what or w in what]

    def expand(self, text):
        actor = os.path.join(self.build, "tests/supervisor/prog_actor")
        return text.replace("@A", "exec: " + actor).replace("@L", '"--log=%s"' % self.log)

    def write(self, topology):
        with open(self.file, "w") as f:
            f.write(self.expand(topology))

    def vmsig(self, *args, code=0):
        """What `vmsig ARGS` prints on both outputs; it must end with that code."""
        env = dict(os.environ, XDG_RUNTIME_DIR=self.folder)
        argv = [self.build + "/bin/vmsig"] + [self.expand(a) for a in args]
        p = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=2 * DEADLINE)
        if p.returncode != code:
            raise Fail("%s: exit code %d: %s" % (" ".join(args), p.returncode, p.stdout + p.stderr))
        return p.stdout + p.stderr

    def status(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(DEADLINE)
        try:
            s.connect(self.run_dir + "/supervisor.sock")
            s.send(b"\x0a\x00")
            answer = s.recv(1 << 17)
        except (ConnectionError, FileNotFoundError):
            return None
        finally:
            s.close()
        for field, value in decode(answer):
            if field == 2:
                return parse_status(value)
        return None

    def running(self):
        def probe():
            if self.child.poll() is not None:
                raise Fail("ended with %d: %s" % (self.child.returncode, self.stderr()))
            s = self.status()
            return s if s and s["state"] == "running" else None

        return wait_for("state running", probe)

    def actor(self, name):
        s = self.status()
        return s["actors"][name] if s else None

    def wait_actor(self, name, probe, what):
        return wait_for("%s %s" % (name, what), lambda: (lambda a: a if a and probe(a) else None)(self.actor(name)))

    def end(self, signo=signal.SIGTERM):
        """Asks it to stop; its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signo)
        return self.exit_code()

    def exit_code(self):
        try:
            return self.child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Fail("does not end: " + self.stderr())

    def nothing_left(self):
        wait_for("no process left: %r" % processes_of(self.folder), lambda: not processes_of(self.folder))
        check(not os.path.exists(self.folder + "/vmsig"), "the run directory is left")

    def close(self):
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for pid, _ in processes_of(self.folder) if self.own_folder else ():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


# ---- the chain that most cases run

CHAIN = """
endpoints:
  - {name: vm, id: 0, host: stub, @A, args: [@L, "--emit=200"]}
actors:
  - {name: ctx, kind: context, @A, args: [@L, "--emit=200"]}
  - {name: gate, kind: gateway, @A, args: [@L, "--emit=50"]}
  - {name: beat, kind: sensor, @A, endpoint: vm, source: 8, args: [@L, "--emit=500"]}
"""


def chain(extra="", **keys):
    """The chain above, with more arguments or keys for one of its actors, and more actors."""
    text = CHAIN
    for name, more in keys.items():
        lines = text.splitlines()
        for i, line in enumerate(lines):
            if "name: %s," % name in line:
                lines[i] = line[: line.rindex("]")] + more + "}"
        text = "\n".join(lines) + "\n"
    return text + extra


@contextlib.contextmanager
def running(build, topology, **kw):
    r = Run(build, topology, **kw)
    try:
        yield r
    except Fail as e:
        raise Fail("%s; stderr: %s" % (e, r.stderr()))
    finally:
        r.close()


def names(lines):
    return [n for _, n, _, _ in lines]


def flows(r, name):
    """Something new arrived at name."""
    before = sum(1 for _, n, _, _ in r.lines("taken") if n == name)
    wait_for("events at " + name, lambda: sum(1 for _, n, _, _ in r.lines("taken") if n == name) > before + 1)


def whole(r):
    bad = r.lines("broken", "misplaced")
    check(not bad, "lost, doubled or out of order: %r" % bad[:5])


def run_cases(cases, build):
    """Each case is a function of the build folder; prints one line for each."""
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    failed = 0
    for case in cases:
        if only not in case.__name__:
            continue
        try:
            case(build)
            print("ok", case.__name__)
        except Exception as e:  # noqa: every other end is a failure, too
            failed += 1
            text = str(e) if isinstance(e, Fail) else traceback.format_exc()
            print("not ok", case.__name__, " | ".join(text.strip().splitlines())[:1500])
        sys.stdout.flush()
    sys.exit(1 if failed else 0)
