#!/usr/bin/env python3
"""A control in Python: reads the guest's memory, takes the input lease, presses a key, lets it go.

    protoc --python_out=DIR -I schema control.proto event.proto
    PYTHONPATH=DIR python3 control.py SOCKET [KEYCODE] [TIMES]

Debian: python3-protobuf, protobuf-compiler. The protocol: docs/control-protocol.md.
"""
import mmap
import socket
import sys

import control_pb2 as pb

INPUT, LEASE, KEY = 32, 36, 1
MEMCTX, RESULT, OK, TIMEOUT = 2, 7, 0, 10.0


class Control:
    def __init__(self, path):
        self.corr = self.token = self.epoch = 0
        self.ram = None
        self.results = {}
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(path)
        self.sock.send(pb.ToGateway(hello=pb.Hello(version=1, name="python")).SerializeToString())

    def step(self):
        """One frame; a memctx comes alone in its frame, with the RAM's read-only fd."""
        frame, fds, _, _ = socket.recv_fds(self.sock, 65536, 1)
        if not frame:
            sys.exit("the gateway has gone")
        message = pb.ToControl.FromString(frame)
        if message.HasField("refused"):
            sys.exit(f"refused: this control {message.refused.why}")
        for event in message.events.event:
            self.epoch = max(self.epoch, event.epoch)
            if event.kind == MEMCTX and fds:
                self.ram = mmap.mmap(fds[0], 0, mmap.MAP_SHARED, mmap.PROT_READ)
            elif event.kind == RESULT:
                self.results[event.corr] = event.result
        for fd in fds:
            socket.close(fd)

    def call(self, kind, **body):
        """Sends a command and waits for its one result."""
        self.corr += 1
        event = pb.event__pb2.Event(kind=kind, endpoint=0, corr=self.corr, token=self.token, **body)
        self.sock.send(pb.ToGateway(command=pb.Command(event=event)).SerializeToString())
        while self.corr not in self.results:
            self.step()
        result = self.results.pop(self.corr)
        if result.status != OK:
            sys.exit(f"command {kind}: status {result.status}")
        return result.detail

    def key(self, code, down):
        self.call(INPUT, input={"inputs": [{"type": KEY, "code": code, "down": down}]})


def main(path, code=46, times=1):
    control = Control(path)
    while control.ram is None:
        control.step()
    print("the guest's memory says", control.ram[0x1000:0x1008].decode("ascii", "replace"))
    for _ in range(int(times)):
        control.token = 0
        control.token = control.call(LEASE, lease={"op": 1, "cls": 0, "ttl_ms": 10000, "flags": 1})  # or wait in line
        control.key(int(code), 1)
        control.key(int(code), 0)
        control.call(LEASE, lease={"op": 3, "cls": 0})
    print("pressed and let go")


if __name__ == "__main__":
    main(*sys.argv[1:])
