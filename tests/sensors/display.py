"""vmsig-sensor-display against servers of our own: a good one that comes and goes, one that speaks no RFB, one that
falls silent. No VM is needed."""
import os
import socket
import struct
import threading
import time

from lab import Lab, expect, main, screen_changes, until

HEAD = """\
endpoints:
  - {name: vm, id: 0, host: stub}
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway}
"""
SENSOR = """\
  - {{name: {name}, kind: sensor, exec: vmsig-sensor-display, endpoint: vm, source: {source}, args: [{args}]}}
"""
ANEW, RESIZED = 1, 2
WIDTH, HEIGHT = 640, 480
RAW, SIZE = 0, -223
HZ = 10


def listen(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(path)
    os.chmod(path, 0o777)
    s.listen(8)
    return s


class Server(threading.Thread):
    """A good one: whenever it is asked, it says that the rectangle of that turn has changed."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = listen(path)
        self.asked = []  # when
        self.width, self.height = WIDTH, HEIGHT
        self.connection = None
        self.start()

    def run(self):
        while True:
            try:
                self.connection = self.listener.accept()[0]
            except OSError:
                return
            try:
                self.serve(self.connection)
            except (OSError, EOFError):
                self.connection.close()

    def take(self, n):
        data = b""
        while len(data) < n:
            more = self.connection.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def serve(self, c):
        c.sendall(b"RFB 003.008\n")
        expect(self.take(12) == b"RFB 003.008\n", "its version")
        c.sendall(b"\1\1")
        expect(self.take(1) == b"\1", "its security type")
        c.sendall(b"\0\0\0\0")
        self.take(1)
        c.sendall(struct.pack(">HH16sI", self.width, self.height, bytes(16), 3) + b"fun")
        self.take(20 + 4 + 12)
        turn, size = 0, (self.width, self.height)
        while self.take(10):
            self.asked.append(time.monotonic())
            if size != (self.width, self.height):
                size = (self.width, self.height)
                c.sendall(struct.pack(">BxHHHHHi", 0, 1, 0, 0, *size, SIZE))
                continue
            turn += 1
            c.sendall(struct.pack(">BxHHHHHi", 0, 1, turn % 600, 7, 3, 2, RAW) + bytes(6))

    def drop(self):
        self.connection.shutdown(socket.SHUT_RDWR)


def topology(*sensors):
    return HEAD + "".join(SENSOR.format(name=n, source=i + 8, args=a) for i, (n, a) in enumerate(sensors))


def check_a_screen_is_followed(build):
    lab = Lab(build)
    with lab:
        server = Server(lab.path("screen"))
        lab.up(topology(("screen", f"--hz, '{HZ}', screen")))
        lab.tap()
        until("rectangles", lambda: len(screen_changes(lab, 8)) > 5)
        seen = screen_changes(lab, 8)
        expect(all(c[:2] == (WIDTH, HEIGHT) for c in seen), f"{seen[:3]}")
        expect(all(r[1:] == (7, 3, 2) for c in seen for r in c[3]), f"{seen[:3]}")
        gaps = [b - a for a, b in zip(server.asked[1:], server.asked[2:])]
        expect(len(gaps) > 2 and sum(gaps) / len(gaps) > 0.9 / HZ, f"it asks too often: {gaps}")
        server.width = 800
        until("the new size", lambda: any(c[:3] == (800, HEIGHT, RESIZED) for c in screen_changes(lab, 8)))
        lab.tap(label="late")
        until("a late one is told the size",
              lambda: any(c[0] == 800 and c[2] & RESIZED for c in screen_changes(lab, 8, "late")))
        server.drop()
        until("a new connection", lambda: any(c[0] == 800 and c[2] & ANEW for c in screen_changes(lab, 8)))
        expect(lab.actor("screen")["restarts"] == 0, "it was restarted")
        lab.end()


def check_what_speaks_no_rfb_is_told_and_tried_again(build):
    lab = Lab(build)
    with lab:
        garbage = listen(lab.path("garbage"))
        garbage.settimeout(30)
        lab.up(topology(("wrong", "garbage")))
        lab.tap()
        for _ in range(3):
            c = garbage.accept()[0]
            c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            until("it hangs up", lambda c=c: c.recv(100) == b"")
            c.close()
        sentence = "wrong: the display: no VNC server listens there"
        until(lambda: lab.read("up.err")[-300:], lambda: sentence in lab.read("up.err"))
        expect(lab.read("up.err").count(sentence) == 1, "it is said again and again")
        garbage.close()
        os.unlink(lab.path("garbage"))
        Server(lab.path("garbage"))
        until("a good one in its place", lambda: screen_changes(lab, 8))
        expect(lab.actor("wrong")["restarts"] == 0, "it was restarted")
        lab.end()


def check_a_server_that_falls_silent_is_given_up(build):
    lab = Lab(build)
    with lab:
        silent = listen(lab.path("silent"))
        silent.settimeout(60)
        lab.up(topology(("mute", "silent"), ("none", "")))
        first = silent.accept()[0]
        second = silent.accept()[0]  # it comes again
        expect(first.recv(100) == b"" and second, "it did not hang up")
        until(lambda: lab.read("up.err")[-300:], lambda: "mute: the display: it was silent for 10 s" in lab.read("up.err"))
        expect("none: its VM offers no display: say so in the endpoint" in lab.read("up.err"), lab.read("up.err")[-300:])
        expect(lab.actor("none")["state"] == "stopped", f"{lab.actor('none')}")
        lab.end()


if __name__ == "__main__":
    main()
