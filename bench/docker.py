"""A Docker Engine of the bench's own, for the backend that runs on one: no bridge, no firewall, no proxy of its own."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from pathlib import Path

from bench import programs
from bench.daemon import Daemon
from bench.workspace import CGROUP_PARENT, Workspace

_READY_TIMEOUT_S = 60
_ZSTD_SINCE = 23
_ADJUSTS_NOTHING_SINCE = 25
# What containerd, which dockerd starts, makes outside the directories it is given.
_SHARED = (Path("/run/containerd"),)


class Engine(Daemon):
    """dockerd; `start` returns when it answers."""

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    def start(self) -> None:
        super().start()
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._answers():
            assert self.service is not None
            self.service.check()
            if time.monotonic() > deadline:
                raise programs.ProgramError(f"dockerd is not ready after {_READY_TIMEOUT_S} s\n{self.tail()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("docker", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def engine(workspace: Workspace, name: str) -> Engine:
    """One on directories of its own below the workspace's."""
    root, run = workspace.scratch / name, workspace.run / name
    settings = {
        "data-root": str(root), "exec-root": str(run / "exec"), "pidfile": str(run / "docker.pid"),
        "hosts": [f"unix://{run / 'docker.sock'}"], "cgroup-parent": CGROUP_PARENT, "live-restore": True,
        "exec-opts": ["native.cgroupdriver=cgroupfs"], "bridge": "none", "iptables": False, "ip-forward": False,
        "ip-masq": False, "userland-proxy": False,
    }  # fmt: skip
    if _version() < _ADJUSTS_NOTHING_SINCE:
        settings["oom-score-adjust"] = 0  # lowering it wants CAP_SYS_RESOURCE
    config = workspace.scratch / f"{name}.json"
    argv: list[str | Path] = [programs.find("dockerd"), "--config-file", config]
    return Engine(name, argv, config, json.dumps(settings), root, run, workspace.logs / f"{name}.log", _SHARED)


def pulls_zstd() -> bool:
    """Whether the dockerd that is installed can unpack layers that zstd has compressed."""
    return _version() >= _ZSTD_SINCE


def _version() -> int:
    """The major one; 0 where it is not told."""
    found = re.search(r"version (\d+)", programs.run("dockerd", "--version").decode())
    return int(found[1]) if found is not None else 0
