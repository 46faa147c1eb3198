"""What `podwright exec -i -t`, `attach` and `port-forward` must do with any CRI runtime: called by the tests for ours
and for containerd's. They run as processes of their own, connected to pipes or to a terminal, as people run them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import struct
import subprocess  # noqa: TID251 - programs that tests start as a person would
import sys
import termios
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support import play
from tests.support.command_line import CommandLine

_PATIENCE_S = 30.0


def argv(podwright: CommandLine, *words: str) -> list[str]:
    return [sys.executable, "-m", "podwright", "--socket", str(podwright.socket), *words]


def piped(podwright: CommandLine, *words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a subcommand with its input from a pipe."""
    done = subprocess.run(argv(podwright, *words), input=stdin, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


class Terminal:
    """A subcommand in a terminal of 30 by 100 characters."""

    def __init__(self, podwright: CommandLine, *words: str) -> None:
        self.fd, inner = pty.openpty()
        self.resize(30, 100)
        self._inner = inner
        self.before = termios.tcgetattr(inner)
        self._process = subprocess.Popen(
            argv(podwright, *words), stdin=inner, stdout=inner, stderr=inner, start_new_session=True
        )
        self.shown = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def notice_resize(self) -> None:
        """What the kernel does for the foreground process of a real terminal."""
        self._process.send_signal(signal.SIGWINCH)

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def wait_for(self, text: bytes) -> None:
        """Until `text` is shown, after what was waited for before."""
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.fd], [], [], 0.1)[0]:
                self.shown += os.read(self.fd, 65536)
        self.shown = self.shown.partition(text)[2]

    def end(self) -> int:
        """The exit code; the terminal is as it was."""
        code = self._process.wait(_PATIENCE_S)
        assert termios.tcgetattr(self._inner) == self.before
        return code

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self.fd)
        os.close(self._inner)


@contextmanager
def playing(podwright: CommandLine, directory: Path, spec: dict[str, object]) -> Iterator[str]:
    """A pod of one container; gives its name."""
    player = play.Player(podwright, directory)
    player.write({"terminationGracePeriodSeconds": 1, "containers": [spec]})
    result = player.play()
    assert result.code == 0, result
    try:
        yield player.name
    finally:
        player.down()


def check_exec(podwright: CommandLine, directory: Path) -> None:
    """Input, half-close, output, errors and exit codes."""
    with playing(podwright, directory, play.sleeper()) as pod:
        assert piped(podwright, "exec", pod, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")
        assert piped(podwright, "exec", "-i", pod, "sh", "-c", "cat; exit 4", stdin=b"abc") == (4, b"abc", b"")
        data = os.urandom(1 << 20) * 8
        code, out, err = piped(podwright, "exec", "-i", pod, "cat", stdin=data)
        assert (code, err, hashlib.sha256(out).digest()) == (0, b"", hashlib.sha256(data).digest())
        code, out, _ = piped(podwright, "exec", "-i", pod, "busybox", "sha256sum", stdin=data)
        assert (code, out.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())
        missing = piped(podwright, "exec", "-i", pod, "/no/such/program")
        assert missing[0] != 0
        assert b"/no/such/program" in missing[2]
        late = piped(podwright, "exec", "-i", "--timeout", "3", pod, "true")
        assert late[0] == 1
        assert b"--timeout" in late[2]


def check_exec_in_a_terminal(podwright: CommandLine, directory: Path) -> None:
    """A shell with our terminal's size, at first and after a change, whose keys arrive as they are typed."""
    with (
        playing(podwright, directory, play.sleeper()) as pod,
        closing(Terminal(podwright, "exec", "-it", pod, "sh")) as terminal,
    ):
        terminal.wait_for(b"# ")
        terminal.type(b"until [ \"$(stty size)\" = '30 100' ]; do sleep 0.1; done; echo first-$?\r")
        terminal.wait_for(b"first-0")
        terminal.wait_for(b"# ")
        terminal.resize(40, 90)
        terminal.notice_resize()
        terminal.type(b"until [ \"$(stty size)\" = '40 90' ]; do sleep 0.1; done; echo second-$?\r")
        terminal.wait_for(b"second-0")
        terminal.wait_for(b"# ")
        script = b"trap 'echo caught-$((1 + 1)); exit' INT; echo waiting-$((1 + 1)); while :; do sleep 0.1; done"
        terminal.type(b'sh -c "' + script.replace(b"$", b"\\$") + b'"\r')
        terminal.wait_for(b"waiting-2")
        terminal.type(b"\x03")
        terminal.wait_for(b"caught-2")
        terminal.wait_for(b"# ")
        terminal.type(b"exit 6\r")
        assert terminal.end() == 6


def check_attach(podwright: CommandLine, directory: Path) -> None:
    """What a container writes from now on, and what it makes of our input; who leaves doesn't end it."""
    shell = play.container("main", "while read line; do echo got $line; done", stdin=True, stdinOnce=False)
    with playing(podwright, directory, shell) as pod:
        process = subprocess.Popen(
            argv(podwright, "attach", "-i", pod), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"hello\n")
            said = process.stdout.readline()
            assert said == b"got hello\n", said
            process.send_signal(signal.SIGINT)
            assert process.wait(_PATIENCE_S) == 130
        finally:
            process.kill()
            process.wait()
            for end in (process.stdin, process.stdout):
                if end is not None:
                    end.close()
        assert podwright("inspect", f"{pod}/main").json["status"]["state"] == "CONTAINER_RUNNING"


def check_port_forward(podwright: CommandLine, directory: Path) -> None:
    """A web server in a pod, by a port of ours; a port that nobody listens on is one failed connection."""
    web = play.sleeper(script="mkdir /tmp/w; echo hello from the pod > /tmp/w/index.html; httpd -p 8080 -h /tmp/w")
    with playing(podwright, directory, web) as pod:
        process = subprocess.Popen(
            argv(podwright, "port-forward", pod, ":8080", ":9"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            urls = dict(_forwarded(process.stdout.readline()) for _ in range(4))
            for _ in range(3):
                assert play.fetch(urls["127.0.0.1", 8080]) == "hello from the pod\n"
            try:
                urllib.request.urlopen(urls["127.0.0.1", 9], timeout=_PATIENCE_S)
                raise AssertionError("nobody listens on port 9")
            except OSError:
                pass
            said = process.stderr.readline()
            assert said.startswith(b"podwright: "), said
            assert b"9" in said
            assert play.fetch(urls["127.0.0.1", 8080]) == "hello from the pod\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(_PATIENCE_S) == 130
        finally:
            process.kill()
            process.wait()
            for end in (process.stdout, process.stderr):
                if end is not None:
                    end.close()


def _forwarded(line: bytes) -> tuple[tuple[str, int], str]:
    found = re.fullmatch(r"Forwarding (\S+):(\d+) -> (\d+)\n", line.decode())
    assert found is not None, line
    return (found[1], int(found[3])), f"http://{found[1]}:{found[2]}/"


CHECKS = (check_exec, check_exec_in_a_terminal, check_attach, check_port_forward)
