"""Every program of a topology meets failing system calls, one at a time, while chaos (tests/chaos) accounts for every event.

    faults.py BUILD [--sample N --seed S] [--program NAME] [--call NAME]

A case is (program, system call, errno, n): the n-th such call of the program's first incarnation fails (strace -e inject),
n = 1, 2, ... until there are no more of them. The topology starts, three actors are restarted and the topology is reloaded
on demand, some processes are killed, all of it is stopped. Either everything goes on, and not an event is lost, doubled or
left over; or it could not start, says why in a sentence, and leaves nothing behind. A minute without an end is a hang.

The call "malloc" is no system call: the n-th allocation fails (nomem.c). So it does in the commands that a person gives to
a topology that runs: each must end, not by a signal, and with one sentence where it fails (what became of a bus command goes to stdout).

With --sample N, N of all cases, by the seed. Prints "ok NAME" / "not ok NAME why"; a last line sums up.
"""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

CALLS = [
    ("memfd_create", "EMFILE"), ("fallocate", "ENOSPC"), ("mmap", "ENOMEM"), ("madvise", "ENOMEM"),
    ("epoll_create1", "EMFILE"), ("epoll_ctl", "ENOMEM"), ("epoll_wait", "EINTR"), ("timerfd_create", "EMFILE"),
    ("eventfd2", "EMFILE"), ("sendmsg", "EAGAIN"), ("sendmsg", "ENOBUFS"), ("recvmsg", "EAGAIN"), ("recvmsg", "EINTR"),
    ("fcntl", "EINVAL"), ("openat", "EMFILE"), ("read", "EINTR"), ("write", "ENOSPC"), ("brk", "ENOMEM"),
    ("malloc", "ENOMEM"), ("prctl", "EPERM"), ("accept4", "EMFILE"), ("newfstatat", "EIO"), ("getrandom", "EAGAIN"),
]
BOSS = [
    ("socketpair", "EMFILE"), ("clone", "EAGAIN"), ("pidfd_open", "EMFILE"), ("pipe2", "EMFILE"), ("bind", "EADDRINUSE"),
    ("listen", "ENOMEM"), ("socket", "EMFILE"), ("flock", "EINTR"), ("mkdir", "ENOSPC"), ("signalfd4", "EMFILE"),
    ("waitid", "EINTR"), ("poll", "EINTR"), ("pread64", "EIO"), ("pwrite64", "ENOSPC"), ("chmod", "EPERM"),
    ("ppoll", "EINTR"), ("dup3", "EMFILE"), ("execveat", "ENOMEM"), ("setresuid", "EAGAIN"), ("statx", "EIO"),
]
PROGRAMS = {
    "vmsig-context": CALLS, "vmsig-gateway": CALLS, "vmsig-host-stub": CALLS, "prog_pulse": CALLS,
    "vmsig-supervisor": CALLS + BOSS, "vmsig-keeper": CALLS + BOSS,
}
COMMANDS = ["check {topology}", "status", "status --json", "send 0 query", "send 0 key a", "tap --count 3",
            "restart beat --name none", "reload --dry-run", "unplug beat --dry-run", "grants", "audit {topology}"]
MANY = 40  # calls of one kind that are tried, one by one, at most; a sample reaches further
HANG = 60

WRAP = """#!/bin/sh
if mkdir {dir}/once 2>/dev/null; then
    exec strace -D -qq -o {dir}/trace -e trace={call} -e signal=none -e inject={call}:error={errno}:when={n} {real} "$@"
fi
exec {real} "$@"
"""
WRAP_NOMEM = """#!/bin/sh
if mkdir {dir}/once 2>/dev/null; then
    exec env LD_PRELOAD={shim} VMSIG_NOMEM={n} VMSIG_NOMEM_MET={dir}/met {real} "$@"
fi
exec {real} "$@"
"""


def make_folder(build, case):
    """A build folder like the real one, but for the program that meets the fault."""
    program, call, errno, n = case
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vmsig-faults-"))
    folder.chmod(0o755)
    (folder / "note").mkdir()
    (folder / "note").chmod(0o777)  # actors have uids of their own
    for room in ("bin", "tests/chaos"):
        (folder / room).mkdir(parents=True)
        for real in (build / room).iterdir():
            if real.is_file() and not real.name.endswith(".d"):
                (folder / room / real.name).symlink_to(real)
    place = next(p for p in folder.rglob(program))
    real = place.resolve()
    place.unlink()
    wrap = WRAP_NOMEM if call == "malloc" else WRAP
    place.write_text(wrap.format(dir=folder / "note", call=call, errno=errno, n=n, real=real, shim=build / "nomem.so"))
    place.chmod(0o755)
    return folder


def run_case(build, case):
    """(verdict, met): verdict "" = as it must be; met: the fault was met."""
    folder = make_folder(build, case)
    try:
        done = subprocess.run([folder / "tests/chaos/prog_chaos", folder, "--kills", "6", "--gap", "10", "--changes",
                               "--seed", str(case[3])], capture_output=True, text=True, timeout=HANG)
        last = (done.stdout.strip().splitlines() or [""])[-1]
        said = done.stderr.strip()
        if done.returncode == 3:  # it did not start, and left nothing behind
            verdict = "" if said else "it did not start, and said nothing"
        elif done.returncode or not last.endswith("kills: 0 lost, 0 duplicated, 0 reordered, 0 leaked"):
            verdict = f"exit code {done.returncode}: {last}; {said[-700:]}"
        else:
            verdict = ""
    except subprocess.TimeoutExpired:
        verdict = f"hangs: no end within {HANG} s"
        subprocess.run(["pkill", "-KILL", "-f", str(folder)])  # nobody else's: the folder is ours
    trace = folder / "note/trace"
    met = (folder / "note/met").exists() or (trace.exists() and "(INJECTED)" in trace.read_text(errors="replace"))
    shutil.rmtree(folder, ignore_errors=True)
    return verdict, met


def cases_of(only):
    for program, calls in PROGRAMS.items():
        for call, errno in calls if only in (None, program) else []:
            yield program, call, errno


class Topology:
    """One that runs, for commands."""

    def __init__(self, build):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmsig-faults-"))
        self.folder.chmod(0o755)
        self.file = self.folder / "short.yaml"
        self.file.write_text("endpoints: [{name: lab, id: 0, host: stub}]\nactors:\n  - {name: ctx, kind: context}\n"
                             "  - {name: gate, kind: gateway}\n  - {name: beat, kind: sensor, exec: vmsig-sensor-tick,"
                             ' endpoint: lab, source: 8, args: [--hz, "100"]}\n')
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}
        self.vmsig = build / "bin/vmsig"
        self.up = subprocess.Popen([self.vmsig, "up", self.file], env=self.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        for line in self.up.stdout:
            if line.startswith("short: running"):
                break

    def close(self):
        self.up.terminate()
        self.up.communicate(timeout=HANG)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, build, line, n):
        """The n-th allocation of a command fails: as run_case."""
        met = self.folder / "met"
        met.unlink(missing_ok=True)
        words = line.format(topology=self.file).split()
        env = {**self.env, "LD_PRELOAD": str(build / "nomem.so"), "VMSIG_NOMEM": str(n), "VMSIG_NOMEM_MET": str(met)}
        try:
            done = subprocess.run([self.vmsig, *words], env=env, capture_output=True, text=True, timeout=HANG)
        except subprocess.TimeoutExpired:
            return f"hangs: no end within {HANG} s", met.exists()
        if done.returncode < 0:
            return f"ended by signal {-done.returncode}", met.exists()
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()  # what became of a command is no error
        if met.exists() and done.returncode and len(said) != 1:
            return f"exit code {done.returncode} and {len(said)} lines: {said}", True
        return "", met.exists()


def commands(build, sample, dice):
    """How many were tried, and how many were bad."""
    tried = bad = 0
    topology = Topology(build)
    try:
        for line in COMMANDS if not sample else [dice.choice(COMMANDS) for _ in range(sample)]:
            for n in range(1, 5000) if not sample else dice.sample(range(1, 120), 10):
                verdict, met = topology.command(build, line, n)
                if not met and not verdict:
                    break
                tried += 1
                bad += bool(verdict)
                if verdict:
                    print(f"not ok vmsig {line} malloc-{n} {verdict}", flush=True)
    finally:
        topology.close()
    print(f"{'not ok' if bad else 'ok'} commands # {tried} allocations failed, {bad} of them badly", flush=True)
    return tried, bad


def has_ptrace():
    return subprocess.run(["strace", "-D", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def main():
    args = argparse.ArgumentParser()
    args.add_argument("build", type=pathlib.Path)
    args.add_argument("--sample", type=int, default=0)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--program")
    args.add_argument("--call")
    args = args.parse_args()
    build = args.build.resolve()
    if not has_ptrace():
        print("ok faults # left out: strace cannot trace here (no ptrace)")
        return 0
    every = [c for c in cases_of(args.program) if args.call in (None, c[1])]
    tried = met = bad = 0
    if args.sample:
        dice = random.Random(args.seed)
        plan = [(dice.choice(every), [dice.choice((1, 2, 3, 4, 5, 6, 8, 10, 13, 20, 50))]) for _ in range(args.sample)]
    else:
        plan = [(c, range(1, MANY + 1)) for c in every]
    for what, numbers in plan:
        for n in range(1, 1000) if what[1] == "malloc" and not args.sample else numbers:
            verdict, was_met = run_case(build, (*what, n))
            if not was_met and not verdict:
                break  # there are no more of them
            tried += 1
            met += was_met
            bad += bool(verdict)
            name = f"{what[0]}-{what[1]}-{what[2]}-{n}"
            print(f"not ok {name} {verdict}".replace("\n", " | ") if verdict else f"ok {name}", flush=True)
    if args.program in (None, "vmsig"):
        more = commands(build, 1 if args.sample else 0, random.Random(args.seed))
        tried, bad = tried + more[0], bad + more[1]
    if tried == 0:
        print("ok faults # none of the sample was met")
    print(f"# {tried} faults: {tried - bad} recovered or refused cleanly, {bad} not")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
