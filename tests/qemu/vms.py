"""Real VMs in whole topologies: QEMU under TCG with the test guest (tests/guest/layout.h)."""
import contextlib
import json
import os
import shutil
import signal
import subprocess

from lab import Lab, alive, expect, main, screen_changes, until

MAILBOX = 0x300000
CR3, KEYS, COMMAND, ARGUMENT, ECHO_IN, ECHO_OUT = (MAILBOX + 8 * i for i in (2, 4, 7, 8, 10, 11))
WINDOW = 0xffff900000000000
ECHO_OUT_IN_WINDOW = WINDOW + (ECHO_OUT - MAILBOX)
RESET, SAY = 1, 8

VM = """\
  - {{name: {name}, id: {id}, host: qemu, qemu: {{memory: 32M, accel: tcg, kernel: guest.elf{more}}}}}
"""
REST = """\
actors:
  - {{name: ctx, kind: context}}
  - {{name: gate, kind: gateway}}
{watches}"""
WATCH = """\
  - {{name: see-{name}, kind: sensor, exec: vmsig-sensor-memwatch, endpoint: {name}, source: 9, memctx: true,
     args: [--phys, "{phys:#x}:8", --virt, "{virt:#x}:8", --hz, "200"]}}
"""


def topology(*names, more=""):
    return ("endpoints:\n" + "".join(VM.format(name=n, id=i, more=more) for i, n in enumerate(names)) +
            REST.format(watches="".join(WATCH.format(name=n, phys=KEYS, virt=ECHO_OUT_IN_WINDOW) for n in names)))


def start(build, *names):
    lab = Lab(build)
    shutil.copy(os.path.join(lab.build, "tests/guest/guest.elf"), lab.path("guest.elf"))
    os.chmod(lab.path("guest.elf"), 0o644)
    return lab, topology(*names)


def send(lab, name, *words):
    r = lab.vmsig("send", "--name", "lab", name, *words, "--json")
    return json.loads(r.stdout)["status"] if r.stdout else r.stderr


def write(lab, name, addr, value):
    return send(lab, name, "memwrite", f"{addr:#x}", f"{value:#x}:8")


def last_seen(lab, endpoint, index):
    """The newest value of a place, as memwatch reported it."""
    seen = [e for e in lab.events() if e["endpoint"] == endpoint and e["kind_number"] == 64]
    for e in reversed(seen):
        raw = bytes.fromhex(e["body"]["hex"])
        if int.from_bytes(raw[8:10], "little") == index and not raw[12] & 4:
            return int.from_bytes(raw[-8:], "little")
    return None


def memctxs(lab, endpoint=0):
    return [e for e in lab.events() if e["kind"] == "memctx" and e["endpoint"] == endpoint]


def booted(lab, endpoint=0, epoch=0):
    return until("a memctx", lambda: next((e for e in memctxs(lab, endpoint) if e["epoch"] > epoch), None))


def epoch_of(lab, endpoint=0):
    return next(e["epoch"] for e in lab.status()["endpoints"] if e["id"] == endpoint)


def usable(lab, name, endpoint, value):
    """The guest's loop answers: it copies a value, and the control reads it through the guest's own page tables."""
    until(lambda: f"{name} takes {value:#x}",
          lambda: write(lab, name, ECHO_IN, value) == "ok" and last_seen(lab, endpoint, 1) == value)


def qemu_of(lab, name):
    """The QEMU of an endpoint; it is to be gone at the end like all others."""
    uid = os.stat(f"/proc/{lab.actor(name)['pid']}").st_uid
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
            if line.startswith(b"qemu-system-x86_64") and lab.dir.encode() in line:
                lab.pids.add(int(pid))
                if os.stat(f"/proc/{pid}").st_uid == uid or os.getuid() != 0:
                    return int(pid)
        except OSError:
            pass
    return None


def check_boot_read_type_write_reset(build):
    lab, text = start(build, "vm")
    with lab:
        lab.up(text)
        lab.tap()
        first = booted(lab)
        expect("RAM mapped read-only" in first.get("note", ""), f"{first}")
        usable(lab, "vm", 0, 0x1001)
        keys = last_seen(lab, 0, 0)
        expect(send(lab, "vm", "key", "a") == "ok", "a key")
        until("the key in the guest's memory", lambda: last_seen(lab, 0, 0) == keys + 2)
        old = epoch_of(lab)
        expect(write(lab, "vm", COMMAND, RESET) == "ok", "a reset by the guest")
        booted(lab, epoch=old)
        expect(any(e["kind"] == "memctx-invalid" and e["epoch"] > old for e in lab.events()), "the old one is void")
        usable(lab, "vm", 0, 0x1002)
        lab.end()


def check_the_death_of_qemu(build):
    lab, text = start(build, "vm")
    with lab:
        lab.up(text)
        lab.tap()
        booted(lab)
        usable(lab, "vm", 0, 0x2001)
        old, pid = epoch_of(lab), lab.actor("vm")["pid"]
        os.kill(qemu_of(lab, "vm"), signal.SIGKILL)
        booted(lab, epoch=old)
        a = lab.actor("vm")
        expect(a["restarts"] == 1 and a["pid"] != pid, f"{a}")
        expect("QEMU has ended" in lab.read("up.err") + json.dumps(a), f"{lab.read('up.err')[-300:]} {a}")
        usable(lab, "vm", 0, 0x2002)
        qemu_of(lab, "vm")
        lab.end()


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rpartition(")")[2].split()[1])


def worker_of(qemu):
    """The other child of its endpoint keeper."""
    keeper = parent_of(qemu)
    with open(f"/proc/{keeper}/task/{keeper}/children") as f:
        return next(int(p) for p in f.read().split() if int(p) != qemu)


def survives(build, victim):
    """Of two deaths of the host adapter none ends the VM, and the epoch moves at each."""
    lab, text = start(build, "vm")
    with lab:
        lab.up(text)
        lab.tap()
        booted(lab)
        usable(lab, "vm", 0, 0x4000)
        qemu = qemu_of(lab, "vm")
        lab.pids.add(parent_of(qemu))
        for i in (1, 2):
            old, pid = epoch_of(lab), lab.actor("vm")["pid"]
            worker = worker_of(qemu)
            lab.pids.add(worker)
            os.kill(victim(pid, worker), signal.SIGKILL)
            booted(lab, epoch=old)
            until("the worker is gone", lambda: not alive(worker))
            expect(lab.actor("vm")["pid"] != pid, "the adapter was not restarted")
            expect("signal 9" in lab.actor("vm")["last_exit"], f"{lab.actor('vm')}")
            expect(qemu_of(lab, "vm") == qemu and alive(qemu), "it is another QEMU")
            expect(last_seen(lab, 0, 1) == 0x4000 + i - 1, "the guest's memory is another one")
            usable(lab, "vm", 0, 0x4000 + i)
        old = epoch_of(lab)
        expect(write(lab, "vm", COMMAND, RESET) == "ok", "a reset by the guest")
        booted(lab, epoch=old)
        usable(lab, "vm", 0, 0x4010)
        lab.note_pids()
        lab.pids.add(worker_of(qemu))
        lab.end()


def check_the_vm_outlives_its_adapter(build):
    survives(build, lambda pid, worker: pid)


def check_the_vm_outlives_the_worker(build):
    survives(build, lambda pid, worker: worker)


def check_the_death_of_the_endpoint_keeper_takes_the_vm_along(build):
    lab, text = start(build, "vm")
    with lab:
        lab.up(text)
        lab.tap()
        booted(lab)
        usable(lab, "vm", 0, 0x5001)
        old, qemu = epoch_of(lab), qemu_of(lab, "vm")
        worker = worker_of(qemu)
        os.kill(parent_of(qemu), signal.SIGKILL)
        booted(lab, epoch=old)
        until("the former QEMU and worker are gone", lambda: not alive(qemu) and not alive(worker))
        usable(lab, "vm", 0, 0x5002)
        qemu_of(lab, "vm")
        lab.end()


def check_a_qemu_that_hangs_is_killed_where_the_topology_says_so(build):
    lab, text = start(build, "vm")
    with lab:
        lab.up(text.replace("host: qemu,", "host: qemu, unquiet: kill,"))
        lab.tap()
        booted(lab)
        usable(lab, "vm", 0, 0x7001)
        old, qemu = epoch_of(lab), qemu_of(lab, "vm")
        os.kill(qemu, signal.SIGSTOP)
        lab.vmsig("send", "--name", "lab", "vm", "key", "a", "--timeout", "300ms")  # its lease is given back, in vain
        booted(lab, epoch=old)
        until("the one that hung is gone", lambda: not alive(qemu))
        expect("unquiet: kill" in lab.read("up.err"), lab.read("up.err")[-300:])
        usable(lab, "vm", 0, 0x7002)
        qemu_of(lab, "vm")
        lab.end()


def check_two_vms_at_once(build):
    lab, text = start(build, "one", "two")
    with lab:
        lab.up(text)
        lab.tap()
        booted(lab, 0)
        booted(lab, 1)
        usable(lab, "one", 0, 0x3001)
        usable(lab, "two", 1, 0x3002)
        epochs = [epoch_of(lab, 0), epoch_of(lab, 1)]
        expect(send(lab, "one", "reset") == "ok", "a reset")
        booted(lab, 0, epochs[0])
        usable(lab, "one", 0, 0x3003)
        expect(epoch_of(lab, 1) == epochs[1], "the other one's epoch moved too")
        expect(last_seen(lab, 1, 1) == 0x3002, "the other one's memory was written")
        qemu_of(lab, "one"), qemu_of(lab, "two")
        lab.end()


def said(lab):
    """What the guest has written on its console. A larger body comes as payload; these are short."""
    return [bytes.fromhex(e["body"]["hex"]).decode() for e in lab.events() if e["source_number"] == 10]


def says(lab, value):
    """Has the guest say a number until it is heard: what it says while nobody is connected is lost."""
    until("an argument", lambda: write(lab, "vm", ARGUMENT, value) == "ok")
    until(lambda: f"the guest says {value:x}: {said(lab)}",
          lambda: write(lab, "vm", COMMAND, SAY) == "ok" and f"{value:016x}" in said(lab))


def check_the_console_line_by_line(build):
    lab, _ = start(build)
    with lab:
        lab.up(topology("vm", more=", console: true") +
               "  - {name: con, kind: sensor, exec: vmsig-sensor-serial, endpoint: vm, source: 10}\n")
        lab.tap()
        booted(lab)
        usable(lab, "vm", 0, 0x6001)
        says(lab, 0x1234567890abcdef)
        old = epoch_of(lab)
        os.kill(qemu_of(lab, "vm"), signal.SIGKILL)
        booted(lab, epoch=old)
        usable(lab, "vm", 0, 0x6002)
        says(lab, 0xfedcba0987654321)
        qemu_of(lab, "vm")
        lab.end()


def check_the_screen_is_followed_into_the_next_qemu(build):
    lab, _ = start(build)
    anew = lambda: [c for c in screen_changes(lab, 11) if c[2] & 1]
    with lab:
        lab.up(topology("vm", more=", display: vnc") +
               "  - {name: screen, kind: sensor, exec: vmsig-sensor-display, endpoint: vm, source: 11}\n")
        lab.tap()
        booted(lab)
        until("the firmware writes on it", lambda: len(screen_changes(lab, 11)) > 1 and anew())
        old, pid = epoch_of(lab), lab.actor("screen")["pid"]
        os.kill(qemu_of(lab, "vm"), signal.SIGKILL)
        booted(lab, epoch=old)
        until("the next one's screen", lambda: len(anew()) > 1)
        for width, height, _, rects in screen_changes(lab, 11):
            expect(all(x + w <= width and y + h <= height for x, y, w, h in rects), f"{width} x {height}: {rects}")
        expect(lab.actor("screen")["pid"] == pid, "the sensor was restarted")
        qemu_of(lab, "vm")
        lab.end()


def endpoint(lab, name="vm"):
    return next(e for e in lab.status()["endpoints"] if e["name"] == name)


def check_a_qemu_that_runs_already(build):
    """Started by nobody of vmsig's; it dies and comes back."""
    lab, _ = start(build)
    qmp, ram = lab.path("qmp"), lab.path("ram")
    line = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-m", "32M", "-kernel", lab.path("guest.elf"),
            "-machine", "q35,accel=tcg,memory-backend=ram0", "-qmp", f"unix:{qmp},server=on,wait=off", "-object",
            f"memory-backend-file,id=ram0,size=32M,share=on,mem-path={ram}"]

    qemus = []

    def end():
        for p in qemus:
            p.kill()
            p.wait()

    def run():
        p = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        qemus.append(p)
        until("its files", lambda: os.path.exists(qmp) and os.path.exists(ram))
        os.chmod(qmp, 0o777)  # as root, host adapter and sensors are other users
        os.chmod(ram, 0o644)
        return p

    with contextlib.ExitStack() as at_end, lab:
        at_end.callback(end)
        lab.up("endpoints:\n  - {name: vm, id: 0, host: qemu, qemu: {attach: {qmp: qmp, ram: ram}}}\n" +
               REST.format(watches=WATCH.format(name="vm", phys=KEYS, virt=ECHO_OUT_IN_WINDOW)))
        lab.tap()
        until("it waits", lambda: "waits for a QEMU" in (endpoint(lab)["remark"] or ""))
        run()
        first = booted(lab)
        expect("RAM mapped read-only" in first.get("note", ""), f"{first}")
        until("a sensor reads its RAM", lambda: last_seen(lab, 0, 0) is not None)
        off = endpoint(lab)["remark"]
        expect("input, lifecycle commands and memory writes are off" in off and "RAM are off" not in off, off)
        expect(not next(p for p in lab.status()["protections"] if p["name"] == "sealed memory")["holds"], "sealed")
        for words in (["key", "a"], ["reset"], ["memwrite", "0x310000", "1"]):
            expect(send(lab, "vm", *words) == "unavailable", f"{words}")
        expect(send(lab, "vm", "vm", "query") == "ok", "a query")
        old = epoch_of(lab)
        end()
        until("it waits again", lambda: "waits for a QEMU" in (endpoint(lab)["remark"] or ""))
        expect(epoch_of(lab) > old, "the epoch did not move")
        os.unlink(qmp)
        os.unlink(ram)
        qemu = run()
        booted(lab, epoch=old)
        expect(lab.actor("vm")["restarts"] == 0, "the adapter ended meanwhile")
        lab.end()
        expect(qemu.poll() is None, "it was ended with the topology")


def refused(build, more, expected):
    lab, _ = start(build)
    with lab:
        lab.file("lab.yaml", topology("vm", more=more).replace("host: qemu,", "host: qemu, restart: temporary,"))
        p = lab.start("up", lab.program("up", lab.path("lab.yaml"), "--json", "--no-tap"))
        until(lambda: f"{expected}: {lab.read('up.err')[-400:]}", lambda: expected in lab.read("up.err"))
        p.send_signal(signal.SIGINT)
        p.wait(30)


def check_what_cannot_be_started_is_told_in_the_log(build):
    refused(build, ", args: [-device, no-such-device]", "'no-such-device' is not a valid device model name")


if __name__ == "__main__":
    main()
