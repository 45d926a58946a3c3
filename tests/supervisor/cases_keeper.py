#!/usr/bin/env python3
"""The keeper alone, under a supervisor that is this very file: `cases_keeper.py supervise FOLDER` does what
FOLDER/do says and notes in FOLDER/log what it heard."""
import array
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile

from harness import DEADLINE, Fail, alive, check, processes_of, run_cases, wait_for

SPAWN, SHELVE, DROP, SEEN = 1, 2, 3, 4
SPAWNED, EXITED, SHELF, END = 16, 17, 18, 19
NAMES = {SPAWNED: "spawned", EXITED: "exited", SHELF: "shelf", END: "end"}
HEAD = struct.Struct("=IIQiIIiII")
SELF = 0xFFFFFFFF

# ---- the supervisor


class Supervisor:
    def __init__(self, folder):
        self.folder = folder
        self.sock = socket.socket(fileno=os.dup(3))
        self.sock.setblocking(True)
        self.boots = []

    def note(self, *words):
        with open(self.folder + "/log", "a") as f:
            f.write(" ".join(str(w) for w in words) + "\n")

    def send(self, op, key, arg=0, blob=b"", fds=()):
        head = HEAD.pack(op, arg, key, 0, SELF, SELF, -1, len(blob), 0)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([head, blob], rights)

    def hear(self):
        data, rights, flags, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(64))
        if not data:
            self.note("eof")
            sys.exit(0)
        op, arg, key, pid, _, _, _, size, _ = HEAD.unpack_from(data)
        blob = data[HEAD.size : HEAD.size + size]
        fds = [fd for _, _, packed in rights for fd in array.array("i", packed)]
        text = blob.rstrip(b"\0").decode() or "-"
        if op == SHELF and fds:  # what is shelved here is a file: show that it is the same one
            text += " " + os.pread(fds[0], 100, 0).decode()
        self.note(NAMES[op], key, pid, arg, text)
        for fd in fds:
            os.close(fd)
        return op

    def spawn(self, key, program, *argv):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.boots.append(mine)
        fd = os.open(program, os.O_PATH)
        here = os.open(self.folder, os.O_PATH)
        env = ["TEST=" + self.folder]
        blob = b"".join(s.encode() + b"\0" for s in list(argv) + env)
        self.send(SPAWN, key, len(argv), blob, [fd, theirs.fileno(), here])
        theirs.close()
        os.close(fd)
        os.close(here)

    def shelve(self, key, blob, content):
        fd = os.memfd_create("shelved")
        os.pwrite(fd, content.encode(), 0)
        self.send(SHELVE, key, 0, blob.encode() + b"\0", [fd])
        os.close(fd)


def supervise(folder):
    s = Supervisor(folder)
    signal.signal(signal.SIGTERM, lambda *_: (s.note("term"), os._exit(5)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    s.note("begin", os.getpid())
    while s.hear() != END:
        pass
    with open(folder + "/do") as f:
        text = f.read()
    exec(compile(text, "do", "exec"), {"s": s, "os": os, "signal": signal, "SEEN": SEEN, "DROP": DROP, **globals()})
    while True:
        s.hear()


# ---- the cases


class Keeper:
    def __init__(self, build, do):
        self.folder = tempfile.mkdtemp(prefix="vmsig-")
        self.do(do)
        self.program = self.folder + "/supervise"
        with open(self.program, "w") as f:
            f.write("#!/bin/sh\nexec python3 -B %s supervise %s\n" % (os.path.abspath(__file__), self.folder))
        os.chmod(self.program, 0o755)
        with open(self.folder + "/err", "wb") as err:
            self.child = subprocess.Popen([os.path.abspath(build) + "/bin/vmsig-keeper", self.program], stderr=err)

    def do(self, text):
        with open(self.folder + "/new", "w") as f:
            f.write(text)
        os.rename(self.folder + "/new", self.folder + "/do")

    def log(self, *first):
        try:
            with open(self.folder + "/log") as f:
                lines = [line.split() for line in f]
        except FileNotFoundError:
            return []
        return [w for w in lines if not first or w[: len(first)] == [str(x) for x in first]]

    def heard(self, *first):
        return wait_for("%r in %r, %s" % (first, self.log(), self.err()), lambda: self.log(*first))

    def err(self):
        with open(self.folder + "/err") as f:
            return f.read()

    def exit_code(self):
        try:
            return self.child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Fail("the keeper does not end: " + self.err())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for pid, _ in processes_of(self.folder):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)


def spawns_with_nothing_but_what_is_given(build):
    show = "import os; os.write(2, b''); f = open(os.environ['TEST'] + '/seen', 'w'); " \
           "print(sorted(os.listdir('/proc/self/fd')), os.getsid(0) == os.getpid(), os.getcwd(), " \
           "os.readlink('/proc/self/fd/0'), sorted(os.environ), " \
           "[l for l in open('/proc/self/status') if l[:9] in ('NoNewPriv', 'SigBlk:\\t0')], file=f); f.close()"
    with Keeper(build, "s.spawn(7, sys.executable, 'python3', '-c', %r, s.folder)" % show) as k:
        check(k.heard("exited", 7)[0][3] == "0", "ended well: %s" % k.err())
        with open(k.folder + "/seen") as f:
            seen = f.read()
        # 4 is the file that it writes to, 5 the folder that it lists
        check(seen.startswith("['0', '1', '2', '3', '4', '5'] True %s /dev/null" % k.folder), seen)
        check("'TEST'" in seen and "PATH" not in seen, "only the environment that was given: " + seen)
        check("NoNewPrivs:\\t1" in seen, seen)


def says_what_cannot_be_started(build):
    with Keeper(build, "s.spawn(7, s.folder + '/do', 'x'); s.spawn(8, '/bin/true', 'true')") as k:
        failed = k.heard("spawned", 7)[0]
        check(failed[2] == "0" and failed[3] == "13" and failed[4] == "exec", "%r" % failed)
        k.heard("exited", 8)


def tells_ends_until_they_were_seen(build):
    with Keeper(build, "s.spawn(7, '/bin/sh', 'sh', '-c', 'exit 3', s.folder); s.spawn(8, '/bin/sleep', 'sleep', '99')") as k:
        end = k.heard("exited", 7)[0]
        check(end[3] == str(3 << 8), "wait status: %r" % end)
        k.do("s.send(SEEN, 7)\nos.kill(os.getpid(), 9)")
        os.kill(int(k.heard("begin")[0][1]), signal.SIGKILL)
        wait_for("a third supervisor", lambda: len(k.log("end")) == 3)
        check(len(k.log("exited", 7)) == 2, "told again to the next, then seen: %r" % k.log())
        check(len(k.log("spawned", 8)) == 3, "told to each: %r" % k.log())
        check([w[3] for w in k.log("end")] == ["0", "1", "2"], "how many there were before: %r" % k.log("end"))


def the_shelf_comes_back(build):
    do = """
for key, word in ((1, 'one'), (2, 'two'), (3, 'three'), (2, 'TWO')):
    s.shelve(key, word, 'in ' + word)
s.send(DROP, 3)
s.note('done')
"""
    with Keeper(build, do) as k:
        k.heard("done")
        k.do("")
        os.kill(int(k.heard("begin")[0][1]), signal.SIGKILL)
        wait_for("the successor", lambda: len(k.log("end")) == 2)
        shelf = [(w[1], w[4:]) for w in k.log("shelf")]
        check(shelf == [("1", ["one", "in", "one"]), ("2", ["TWO", "in", "TWO"])], "%r" % shelf)


def a_large_shelf_comes_back(build):
    do = "for key in range(600):\n    s.shelve(key, 'x' * 2000, str(key))\ns.note('done')"
    with Keeper(build, do) as k:
        k.heard("done")
        k.do("")
        os.kill(int(k.heard("begin")[0][1]), signal.SIGKILL)
        wait_for("the successor", lambda: len(k.log("end")) == 2)
        check([w[1] for w in k.log("shelf")] == [str(i) for i in range(600)], "all, in order")


def the_group_goes_with_its_leader(build):
    do = "s.spawn(7, '/bin/sh', 'sh', '-c', 'sleep 99 & echo $! > $TEST/pid; wait', s.folder)"
    with Keeper(build, do) as k:
        leader = int(k.heard("spawned", 7)[0][2])
        member = wait_for("the group", lambda: os.path.exists(k.folder + "/pid") and open(k.folder + "/pid").read())
        os.kill(leader, signal.SIGKILL)
        k.heard("exited", 7)
        wait_for("the end of the member", lambda: not alive(int(member)))


def a_decision_ends_all_with_its_code(build):
    deep = "(setsid sh -c 'sleep 98 & echo $! > $TEST/deep; exec sleep 97' &) ; exec sleep 99"
    with Keeper(build, "s.spawn(7, '/bin/sh', 'sh', '-c', %r, s.folder)" % deep) as k:
        leader = int(k.heard("spawned", 7)[0][2])
        orphan = wait_for("an orphan", lambda: os.path.exists(k.folder + "/deep") and open(k.folder + "/deep").read())
        k.child.send_signal(signal.SIGTERM)
        check(k.exit_code() == 5, "the supervisor's code")
        check(k.log("term"), "it was told by SIGTERM")
        check(not alive(leader) and not alive(int(orphan)), "all are gone, of whatever depth and session")


def no_zombie_and_no_fd_is_left(build):
    do = """
for key in range(40):
    s.spawn(key, '/bin/sh', 'sh', '-c', '(true &) ; exit 0', s.folder)
    while s.hear() != EXITED:
        pass
    s.send(SEEN, key)
    s.shelve(1, 'x', str(key))
s.note('done')
"""
    with Keeper(build, do) as k:
        k.heard("done")
        pid = k.child.pid

        def children():
            with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                return f.read().split()

        wait_for("only the supervisor as a child", lambda: len(children()) == 1)
        if os.geteuid() == 0:  # 0, 1, 2, signals, the supervisor's program, socket and pidfd, one shelved
            wait_for("no fd beyond", lambda: len(os.listdir("/proc/%d/fd" % pid)) <= 8)


def waits_longer_for_one_that_crashes_but_not_for_one_that_is_killed(build):
    with Keeper(build, "os.abort()") as k:
        k.heard("end")
        k.do("")
        wait_for("it lives", lambda: alive(int(k.log("begin")[-1][1])) and len(k.log("end")) >= 2)
        crashes = len(k.log("begin")) - 1
        check(k.err().count("signal 6 (Aborted), restarting") == crashes, k.err())
        for _ in range(15):
            n = len(k.log("end"))
            os.kill(int(k.log("begin")[-1][1]), signal.SIGKILL)
            wait_for("the next", lambda: len(k.log("end")) > n)
        check(k.child.poll() is None, "it never gives up on that: " + k.err())


def follows_its_parent(build):
    with Keeper(build, "") as k:
        k.heard("end")
        inner = subprocess.Popen(
            ["sh", "-c", '"$0" "$1" & echo $!; wait', os.path.abspath(build) + "/bin/vmsig-keeper", k.program],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        pid = int(inner.stdout.readline())
        wait_for("the second supervisor", lambda: len(k.log("end")) == 2)
        inner.kill()
        inner.wait()
        wait_for("its end", lambda: not alive(pid))
        check(len(k.log("term")) == 1, "in order: %r" % k.log())
        inner.stdout.close()


if __name__ == "__main__":
    if sys.argv[1] == "supervise":
        supervise(sys.argv[2])
    run_cases(
        [
            spawns_with_nothing_but_what_is_given,
            says_what_cannot_be_started,
            tells_ends_until_they_were_seen,
            the_shelf_comes_back,
            a_large_shelf_comes_back,
            the_group_goes_with_its_leader,
            a_decision_ends_all_with_its_code,
            no_zombie_and_no_fd_is_left,
            waits_longer_for_one_that_crashes_but_not_for_one_that_is_killed,
            follows_its_parent,
        ],
        sys.argv[1],
    )
