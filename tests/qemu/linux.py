"""A Linux guest under TCG (docs/examples/qemu-linux.yaml), driven by the example control type-and-see: it boots, gets
keys through evdev, and is read by virtual address, its addresses being random and its page tables of five levels. Its
screen is followed."""
import os
import re
import shutil
import subprocess

from lab import Lab, expect, main, screen_changes

SESSION_S = 480  # two boots and all between them take half a minute on a quiet machine
EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/examples/qemu-linux.yaml")


def topology(lab):
    """The example's, on files that every user can read."""
    with open(EXAMPLE) as f:
        text = f.read()
    for name in ("vmlinuz", "initrd.gz"):
        path = os.path.join(lab.build, "linux-guest", name)
        expect(os.path.exists(path), f"there is no {path}: make linux-guest says why")
        shutil.copyfile(path, lab.path(name))
        os.chmod(lab.path(name), 0o644)
        text = text.replace(f"../../build/linux-guest/{name}", name)
    return text


def session(lab):
    """One run of the control: what it printed."""
    r = subprocess.run([os.path.join(lab.build, "examples/type-and-see"), "lab"], env=lab.env, capture_output=True,
                       text=True, errors="replace", timeout=SESSION_S, cwd=lab.dir)
    expect(r.returncode == 0, f"{r.stdout[-600:]} {r.stderr} {lab.read('up.err')[-300:]}")
    return r.stdout


def reads(text):
    return re.findall(r"^read at (0x[0-9a-f]+), by page tables of (\d) levels: Linux version", text, re.M)


def check_a_linux_guest_is_typed_to_read_written_and_reset(build):
    lab = Lab(build)
    with lab:
        lab.up(topology(lab))
        lab.tap("--source", "11")
        said = session(lab)
        seen = reads(said)
        expect(len(seen) == 2, said)
        expect(all(levels == "5" for _, levels in seen), "LA57 is not on")
        expect("    Guest\n" in said and "    guest\n" in said, said)
        expect(re.search(r"reset: epoch (\d+) ended", said), said)
        if seen[0] == seen[1]:  # one of some 500 places: it happens
            seen += reads(session(lab))
        expect(len(set(seen)) > 1, f"the kernel lies at the same place in each boot: {seen}")
        screen = screen_changes(lab, 11)
        expect({(w, h) for w, h, _, _ in screen} >= {(720, 400)} and len(screen) > 20, "what is typed is on the screen")
        lab.end()


if __name__ == "__main__":
    main()
