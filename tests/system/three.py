"""Three controls at once on one endpoint: in the process, over the socket in C, over the socket in Python."""
import os
import subprocess
import sys
import tempfile

TIMES = 15
CODES = {30: "inside", 48: "C", 46: "Python"}


def run(build):
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    program = os.path.join(build, "tests", "system", "prog_three")
    with tempfile.TemporaryDirectory(prefix="vmsig-three-") as tmp:
        subprocess.run(["protoc", f"--python_out={tmp}", "-I", os.path.join(root, "schema"), "control.proto",
                        "event.proto"], check=True, capture_output=True, timeout=60)
        sock = os.path.join(tmp, "s")
        core = subprocess.Popen([program, "core", sock, str(TIMES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)
        others = []
        try:
            if core.stdout.readline() != "ready\n":
                return "the core does not start"
            others = [subprocess.Popen([program, "socket", sock, str(TIMES)], stderr=subprocess.PIPE, text=True),
                      subprocess.Popen(["/usr/bin/python3", os.path.join(root, "docs/examples/control.py"), sock, "46",
                                        str(TIMES)], env=dict(os.environ, PYTHONPATH=tmp), stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)]
            said = [p.communicate(timeout=60) for p in others]
            if any(p.returncode for p in others):
                return f"exit codes {[p.returncode for p in others]}: {said}"
            if "vmsgstub" not in said[1][0]:
                return f"Python read no memory: {said[1]}"
            keys = [tuple(map(int, line.split())) for line in core.communicate(timeout=60)[0].splitlines()]
        finally:
            for p in [core, *others]:
                if p.poll() is None:
                    p.kill()
                p.wait()
    if core.returncode:
        return f"the core: exit code {core.returncode}"
    for code, who in CODES.items():
        if keys.count((code, 1)) != TIMES or keys.count((code, 0)) != TIMES:
            return f"{who}: pressed {keys.count((code, 1))} times, let go {keys.count((code, 0))} times"
    pairs = list(zip(keys[::2], keys[1::2]))
    broken = [p for p in pairs if p[0] != (p[1][0], 1) or p[1][1] != 0]
    return f"one drove while another held: {broken[:3]}" if broken or len(keys) % 2 else ""


why = run(os.path.abspath(sys.argv[1]))
print(f"not ok three controls at once: {why}" if why else "ok three controls at once drive one after the other")
