"""A virtual machine with the agent in it, without the host's side: QEMU, virtiofsd, and a client of the protocol.

The client reads always and keeps what comes: answers by request, data by stream, notices in a list. It gives credit
back for streams whose data is `kept`; for others it doesn't, which makes it the slow reader that flow control is for.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import subprocess  # noqa: TID251 - children of a session's fixture, outside of any event loop
import time
from pathlib import Path
from typing import Any, Self

from podwright.vm.build_guest import Guest
from podwright.wire.guest_frames import (
    CREDIT,
    CREDIT_BYTES,
    DATA,
    END,
    FAILURE,
    NOTICE,
    PORT_NAME,
    REQUEST,
    RESET,
    RESPONSE,
    Decoder,
    Frame,
    Streams,
    encode,
)  # fmt: skip

MEMORY = "384M"
TIMEOUT_S = 240.0
_COMMAND_LINE = "console=hvc0 tsc_early_khz=2000000 quiet loglevel=4 panic=-1 reboot=t"
MAC, HOST_ADDRESSES = "52:54:00:12:34:56", ("10.9.8.1/24", "10.9.7.1/32", "fd09:8::1/64")
# A network namespace of the machine's own, with a tap that has the host's addresses.
_NETWORK = (
    "ip link set lo up && ip tuntap add tap0 mode tap && ip link set tap0 mtu 1400 up && "
    + " && ".join(
        f"ip address add {address} dev tap0 {'nodad' if ':' in address else ''}" for address in HOST_ADDRESSES
    )
    + ' && exec "$@"'
)


class Refused(Exception):
    """A FAILURE, with its kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Machine:
    """Runs from `with` to its end. `share` is the directory that it has as share:."""

    def __init__(self, guest: Guest, directory: Path, *arguments: str) -> None:
        self.share, self._directory = directory / "share", directory
        self._guest, self._arguments = guest, arguments
        self.share.mkdir()
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start_virtiofsd()
            self._start_qemu()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._children):
            child.kill()
            child.wait()

    def _start_virtiofsd(self) -> None:
        argv = [
            "/usr/lib/qemu/virtiofsd", f"--socket-path={self._directory}/fs", "-o", f"source={self.share}",
            "-o", "sandbox=chroot", "-o", "cache=auto",
        ]  # fmt: skip
        self._start(argv)
        self._appears("fs")

    def _start_qemu(self) -> None:
        self._start([
            "unshare", "--net", "sh", "-c", _NETWORK, "sh", "qemu-system-x86_64",
            "-M", "microvm,accel=tcg,rtc=on,memory-backend=memory", "-cpu", "max", "-smp", "1", "-m", MEMORY,
            "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-global", "virtio-mmio.force-legacy=false",
            "-kernel", os.fspath(self._guest.kernel), "-initrd", os.fspath(self._guest.initrd),
            "-append", _COMMAND_LINE,
            "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
            "-device", f"virtio-net-device,netdev=net,mac={MAC},host_mtu=1400",
            "-chardev", f"file,id=console,path={self._directory}/console",
            "-chardev", f"socket,id=agent,path={self._directory}/agent,server=on,wait=off",
            "-device", "virtio-serial-device", "-device", "virtconsole,chardev=console",
            "-device", f"virtserialport,chardev=agent,name={PORT_NAME}",
            "-chardev", f"socket,id=fs,path={self._directory}/fs",
            "-device", "vhost-user-fs-device,chardev=fs,tag=podwright", *self._arguments,
        ])  # fmt: skip
        self._appears("agent")

    def _start(self, argv: list[str]) -> None:
        with (self._directory / "programs").open("ab") as log:
            self._children.append(subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ))  # fmt: skip

    def _appears(self, name: str) -> None:
        deadline = time.monotonic() + 20
        while not (self._directory / name).exists():
            assert self._children[-1].poll() is None, self.words()
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.01)  # noqa: TID251 - no event loop runs

    def connect(self) -> Client:
        """The host's end; one at a time."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(os.fspath(self._directory / "agent"))
        return Client(client, self)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Until the machine has ended: QEMU's exit status."""
        return self._children[-1].wait(timeout_s)

    def from_outside(self, *argv: str) -> str:
        """Run a program in the network namespace that the machine is connected to."""
        nsenter = ["nsenter", f"--net=/proc/{self._children[-1].pid}/ns/net", *argv]
        done = subprocess.run(nsenter, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def words(self) -> str:
        """What the kernel, the agent, and the programs on the host said."""
        texts = [path.read_text(errors="replace")[-4000:] for name in ("console", "programs")
                 if (path := self._directory / name).exists()]  # fmt: skip
        return "\n".join(texts)


class Client:
    """The host's end of the connection."""

    def __init__(self, connection: socket.socket, machine: Machine) -> None:
        self._connection, self._machine = connection, machine
        self._decoder, self.streams = Decoder(), Streams()
        self._requests, self._numbers = itertools.count(1), itertools.count(1)
        self._answers: dict[int, Frame] = {}
        self.notices: list[dict[str, Any]] = []
        self.data: dict[int, bytearray] = {}
        self.slow: set[int] = set()
        self.ended: set[int] = set()
        self.resets: set[int] = set()

    def close(self) -> None:
        self._connection.close()

    def ask(self, verb: str, **attributes: object) -> dict[str, Any]:
        """A request and its answer. Raises Refused."""
        return self.answer(self.send_request(verb, **attributes))

    def send_request(self, verb: str, **attributes: object) -> int:
        """A request, whose answer is asked for later."""
        number = next(self._requests)
        self._connection.sendall(encode(REQUEST, number, json.dumps({"verb": verb, **attributes}).encode()))
        return number

    def answer(self, number: int) -> dict[str, Any]:
        """Raises Refused."""
        self.until(lambda: number in self._answers, f"an answer to request {number}")
        frame = self._answers.pop(number)
        body: dict[str, Any] = json.loads(frame.body)
        if frame.kind == FAILURE:
            raise Refused(body["kind"], body["message"])
        return body

    def output(self) -> int:
        """A new stream that the machine writes on."""
        number = next(self._numbers)
        self.streams.open_receiving(number)
        self.data[number] = bytearray()
        return number

    def input(self) -> int:
        """A new stream that the machine reads."""
        number = next(self._numbers)
        self.streams.open_sending(number)
        return number

    def type(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send on a stream as its credit allows, then its end."""
        while data and self.streams.is_sending(stream):
            self.until(lambda: self.streams.credit(stream) > 0 or not self.streams.is_sending(stream), "credit")
            credit = self.streams.credit(stream)
            self._connection.sendall(self.streams.send(stream, data[:credit]))
            data = data[credit:]
        if end:
            self._connection.sendall(self.streams.end(stream))

    def reset(self, stream: int) -> None:
        """Read no more from a stream."""
        self._connection.sendall(self.streams.reset(stream))

    def take(self, stream: int) -> bytes:
        """What a slow stream has collected; gives credit for it."""
        data = bytes(self.data[stream])
        self.data[stream].clear()
        self._connection.sendall(self.streams.took(stream, len(data)))
        return data

    def read(self, stream: int) -> bytes:
        """Everything until the stream's end."""
        self.until(lambda: stream in self.ended, f"the end of stream {stream}")
        return bytes(self.data[stream])

    def until_output(self, stream: int, words: bytes) -> None:
        """Until the stream's data have these words."""
        self.until(lambda: words in self.data[stream], f"{words!r} on stream {stream}: {self.data[stream]!r}")

    def notice(self, kind: str, **attributes: object) -> dict[str, Any]:
        """The first notice of this kind with these attributes, which is forgotten then."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [n for n in self.notices if n["notice"] == kind and attributes.items() <= n.items()]
            return bool(found)

        self.until(there, f"a notice {kind} {attributes}")
        self.notices.remove(found[0])
        return found[0]

    def until(self, true: Any, what: str, timeout_s: float = TIMEOUT_S) -> None:
        """Read until `true()`."""
        deadline = time.monotonic() + timeout_s
        while not true():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._connection], [], [], left)[0]:
                raise AssertionError(f"{what}: not within {timeout_s:g} s\n{self._machine.words()}")
            self._read()

    def settle(self, seconds: float) -> None:
        """Read whatever comes for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._connection], [], [], left)[0]:
                self._read()

    def _read(self) -> None:
        data = self._connection.recv(1 << 18)
        if not data:
            raise EOFError(f"the machine has ended\n{self._machine.words()}")
        for frame in self._decoder.feed(data):
            if frame.kind in (RESPONSE, FAILURE):
                self._answers[frame.id] = frame
            elif frame.kind == NOTICE:
                self.notices.append(json.loads(frame.body))
            elif self.streams.receive(frame):
                self._stream(frame)

    def _stream(self, frame: Frame) -> None:
        if frame.kind == DATA:
            self.data[frame.id] += frame.body
            if frame.id not in self.slow:
                self._connection.sendall(self.streams.took(frame.id, len(frame.body)))
            assert len(self.data[frame.id]) <= CREDIT_BYTES or frame.id not in self.slow
        elif frame.kind == END:
            self.ended.add(frame.id)
        elif frame.kind == RESET:
            self.resets.add(frame.id)
        else:
            assert frame.kind == CREDIT
