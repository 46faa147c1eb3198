"""A real Docker Engine for tests, on a socket, data root, execution root and cgroup of its own.

    with running_dockerd(tmp_path) as docker:
        docker.request("GET", "/info")

It makes no bridge and no firewall rules, and has a containerd of its own. Runtimes: runc (the default), and crun and
runsc where they are installed. Everything here is synchronous, so that a fixture of any scope can use it; requests go
by http.client: the code under test has no part in it.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess  # noqa: TID251 - fixtures of sessions have no event loop
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from examples.make_hello_image import image as hello_image

from podwright.linux.mounts import unmount_tree
from podwright.runtime import hybrid
from podwright.runtime.base import RuntimeCommand
from tests.support import cgroups, names

PROGRAM = "dockerd"
_FIRST = "localhost/first:1"
_START_S = 60.0
_STOP_S = 60.0
# runsc takes a file below for a sign of the host's network namespace; see runtime/gvisor.py.
_HIDE_SIGN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro none /proc/sys/net && exec "$@"', "sh")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Dockerd:
    """`start` again after `stop` or `kill` for a restart on the same state."""

    def __init__(
        self,
        directory: Path,
        *,
        live_restore: bool = True,
        options: Sequence[str] = (),
        cgroup_driver: str = "cgroupfs",
    ) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"
        self.data_root, self.exec_root = directory / "data", directory / "exec"
        self.pid_file, self.log = directory / "docker.pid", directory / "dockerd.log"
        self.cgroup_parent = names.cgroup("docker") + (".slice" if cgroup_driver == "systemd" else "")
        self.process: subprocess.Popen[bytes] | None = None
        self._options = list(options)
        self._config = directory / "daemon.json"
        directory.mkdir(parents=True, exist_ok=True)
        parent = self.cgroup_parent if cgroup_driver == "cgroupfs" else self.cgroup_parent.lstrip("/")
        settings = {
            "data-root": str(self.data_root), "exec-root": str(self.exec_root), "pidfile": str(self.pid_file),
            "hosts": [f"unix://{self.socket}"], "cgroup-parent": parent,
            "exec-opts": [f"native.cgroupdriver={cgroup_driver}"], "bridge": "none", "iptables": False,
            "ip6tables": False, "ip-forward": False, "ip-masq": False, "userland-proxy": False,
            "live-restore": live_restore, "insecure-registries": ["127.0.0.0/8"], **_oom_score_adj_stays(),
            "runtimes": self._runtimes(), "max-concurrent-downloads": 6, "shutdown-timeout": 5,
            "storage-driver": "overlay2",
        }  # fmt: skip
        self._config.write_text(json.dumps(settings))

    def _runtimes(self) -> dict[str, Any]:
        """Beside runc, which Docker knows by itself; crun and runsc so that they work on this machine."""
        found: dict[str, Any] = {}
        if (crun := shutil.which("crun")) is not None:
            command = hybrid.wrapped(RuntimeCommand(Path(crun)))
            prefix = [str(command.path), *command.global_args] if hybrid.needed() else [crun]
            found["crun"] = {"path": self._script("crun", "create", prefix, crun)}
        if (runsc := shutil.which("runsc")) is not None:
            found["runsc"] = {"path": self._script("runsc", "start", [*_HIDE_SIGN, runsc], runsc)}
        return found

    def _script(self, name: str, verb: str, prefix: Sequence[str], program: str) -> str:
        """A runtime whose one verb needs more than the program; `prefix` ends with it."""
        script = self.directory / name
        words = shlex.join(prefix)
        script.write_text(
            f'#!/bin/sh\nfor word; do [ "$word" = {verb} ] && exec {words} "$@"; done\nexec {program} "$@"\n'
        )
        script.chmod(0o755)
        return str(script)

    def start(self) -> None:
        self.pid_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--config-file", self._config, *self._options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self.directory), "HOME": str(self.directory)},
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start:\n{self.log_tail()}")
            time.sleep(0.05)  # noqa: TID251 - no event loop here

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """SIGTERM. With live restore containers run on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9, which takes its containerd along. Containers run on."""
        self._end(signal.SIGKILL)
        # Whoever inherits it may not reap it, and dockerd would take it to be alive.
        containerd = self.exec_root / "containerd" / "containerd.pid"
        _kill_all(lambda: {pid for pid in self._processes() if _command_line(pid).startswith(b"containerd\0")})
        containerd.unlink(missing_ok=True)

    def _end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(_STOP_S)

    def restart(self) -> None:
        self.stop()
        self.start()

    def request(self, method: str, path: str, body: object = None, **query: str) -> tuple[int, Any]:
        """Status and JSON (or text) of one request."""
        connection = _Connection(self.socket)
        try:
            target = path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
            data = None if body is None else json.dumps(body)
            connection.request(method, target, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(content) if content else None
        except ValueError:
            return response.status, content.decode(errors="replace")

    def warm_up(self) -> None:
        """Let dockerd make what it makes with the first container, and keeps: a cgroup, and the host's network."""
        connection = _Connection(self.socket)
        connection.request("POST", "/images/load?quiet=1", hello_image(_FIRST), {"Content-Type": "application/x-tar"})
        connection.getresponse().read()
        connection.close()
        body = {"Image": _FIRST, "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": "host"}}
        container = self.request("POST", "/containers/create", body)[1]["Id"]
        assert self.request("POST", f"/containers/{container}/start")[0] == 204
        self.remove_all()

    def container_ids(self) -> list[str]:
        """All containers, whoever made them."""
        return [each["Id"] for each in self.request("GET", "/containers/json", all="1")[1]]

    def image_ids(self) -> list[str]:
        return [each["Id"] for each in self.request("GET", "/images/json")[1]]

    def remove_all(self) -> None:
        """Every container and image."""
        for container in self.container_ids():
            self.request("DELETE", f"/containers/{container}", force="1", v="1")
        for image in self.image_ids():
            self.request("DELETE", f"/images/{image}", force="1")

    def _processes(self) -> set[int]:
        """What runs on this engine's behalf: its containers, by their cgroups, and whatever names its directory."""
        found: set[int] = set()
        for file in Path("/sys/fs/cgroup").glob(f"*{self.cgroup_parent}/**/cgroup.procs"):
            found.update(map(int, file.read_text().split()))
        mark = f"{self.directory}/".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and mark in _command_line(int(entry.name)):
                found.add(int(entry.name))
        return found - {os.getpid()}

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]

    def close(self) -> None:
        """Everything off, and nothing left: containers first, since live restore would leave them."""
        if self.runs:
            self.remove_all()
            self.stop()
        _kill_all(self._processes)
        unmount_tree(self.directory)
        cgroups.remove(self.cgroup_parent)  # which Docker makes and leaves
        shutil.rmtree(self.directory)


@functools.cache
def _oom_score_adj_stays() -> dict[str, int]:
    """Before Docker 25 dockerd lowers its own unless it is told not to, which wants CAP_SYS_RESOURCE."""
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", said)
    return {"oom-score-adjust": 0} if found is not None and int(found[1]) < 25 else {}


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kill_all(processes: Callable[[], set[int]]) -> None:
    """SIGKILL, until there are none. A dead process has no command line and is in no cgroup that can't be removed."""
    deadline = time.monotonic() + _STOP_S
    while left := processes():
        assert time.monotonic() < deadline, f"can't be killed: {left}"
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)  # noqa: TID251 - no event loop here


@contextmanager
def running_dockerd(
    directory: Path, *, live_restore: bool = True, options: Sequence[str] = (), cgroup_driver: str = "cgroupfs"
) -> Iterator[Dockerd]:
    """An engine that runs, and is gone without a trace at the end."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    docker = Dockerd(directory, live_restore=live_restore, options=options, cgroup_driver=cgroup_driver)
    try:
        docker.start()
        yield docker
    finally:
        docker.close()
