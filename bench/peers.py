"""The runtimes that are compared: how each is started on directories of its own, and stopped without a trace."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench import docker, network, pods, processes, programs
from bench.client import Client
from bench.daemon import Daemon
from bench.workspace import Workspace

READY_TIMEOUT_S = 60
# What containerd and libcni make outside the directories they are given.
_CONTAINERD_SHARED = (Path("/run/containerd"), Path("/var/lib/cni"))


@dataclass
class Peer:
    """A runtime behind a socket. `marks` are paths that its monitors' command lines name.

    `engine` runs beside the daemon, which stands on it; `pulls_zstd`: whether it can unpack such layers.
    """

    name: str
    socket: Path
    marks: tuple[str, ...]
    handler: str = ""
    daemon: Daemon | None = None
    engine: Daemon | None = None
    pulls_zstd: bool = True
    client: Client = field(init=False)

    def start(self) -> float:
        """Start the daemon if it is ours, connect, and wait until it is ready: the seconds that took.

        An engine that it stands on is there before, as on a node that has booted, and not counted.
        """
        if self.engine is not None:
            self.engine.start()
        begin = time.perf_counter()
        if self.daemon is not None:
            self.daemon.start()
        self.client = Client(self.socket)
        try:
            self.client.wait_ready(READY_TIMEOUT_S)
        except TimeoutError as error:
            raise programs.ProgramError(f"{error}\n{self.daemon.tail() if self.daemon else ''}") from None
        return time.perf_counter() - begin

    def stop(self) -> None:
        """Remove the pods of the bench, stop the daemon if it is ours, and remove what it kept."""
        if self.daemon is not None and self.daemon.service is None:
            self._stop_engine()
            return
        try:
            pods.remove_all(self.client)
        except grpc.RpcError as error:
            print(f"{self.name}: pods could not be removed: {error}", file=sys.stderr)
        self.client.close()
        if self.daemon is not None:
            self.daemon.stop(self.marks)
        self._stop_engine()

    def _stop_engine(self) -> None:
        if self.engine is not None and self.engine.service is not None:
            self.engine.stop(self.marks)

    def restart(self) -> None:
        """Stop and start afresh with empty directories, if the daemon is ours."""
        if self.daemon is not None:
            self.stop()
            self.start()

    def footprint(self) -> processes.Footprint:
        """The daemon's processes and its monitors, now."""
        running = [self.client.daemon_pid()]
        if self.engine is not None and self.engine.service is not None:
            running.append(self.engine.service.pid)
        return processes.footprint(running, self.marks)


def foreign(socket: Path) -> Peer:
    """A runtime that runs already; it must be able to pull from the bench's registry on loopback."""
    return Peer(socket.parent.name, socket, (str(socket), str(socket.parent)))


def podwright(workspace: Workspace, runtime: str) -> Peer:
    """This checkout's Podwright with one OCI runtime as its default."""
    name = f"podwright-{runtime}"
    root, run = workspace.scratch / name, workspace.run / name
    socket, config = run / "podwright.sock", workspace.scratch / f"{name}.toml"
    program = Path(sys.executable).with_name("podwright")
    argv: list[str | Path] = [
        program, "serve", "--config", config, "--root", root, "--run", run, "--socket", socket,
        "--cni-conf-dir", workspace.cni_conf,
    ]  # fmt: skip
    daemon = Daemon(
        name, argv, config, _podwright_settings(workspace, runtime), root, run, workspace.logs / f"{name}.log"
    )
    return Peer(name, socket, (str(root), str(run)), daemon=daemon)


def podwright_on_docker(workspace: Workspace) -> Peer:
    """This checkout's Podwright with the Docker Engine's backend, and an engine of its own with runc."""
    name = "podwright-docker"
    engine = docker.engine(workspace, "dockerd")
    root, run = workspace.scratch / name, workspace.run / name
    peer = podwright(workspace, "docker")
    assert peer.daemon is not None
    peer.daemon.argv += ["--backend", "docker"]
    peer.daemon.config_text = f"""\
[docker]
socket = "{engine.socket}"
[cgroup]
driver = "cgroupfs"
{_common_settings(workspace, "docker")}"""
    peer.engine, peer.pulls_zstd = engine, docker.pulls_zstd()
    peer.marks = (str(root), str(run), str(engine.root), str(engine.run))
    return peer


def _podwright_settings(workspace: Workspace, runtime: str) -> str:
    return f"""\
[runtime]
default = "{runtime}"
{_common_settings(workspace, runtime)}"""


def _common_settings(workspace: Workspace, runtime: str) -> str:
    plugins = json.dumps([str(directory) for directory in network.PLUGIN_DIRECTORIES])
    return f"""\
[registry]
config_path = ["{workspace.certs}"]
[network]
plugin_dirs = {plugins}
[nri]
socket = "{workspace.run}/podwright-{runtime}/nri.sock"
"""


def containerd(workspace: Workspace, pause: str) -> Peer:
    """Debian's containerd with runc, set up as containerd's CRI documentation has it for a node."""
    name = "containerd-runc"
    root, run = workspace.scratch / name, workspace.run / name
    socket, config = run / "containerd.sock", workspace.scratch / f"{name}.toml"
    text = _containerd_settings(workspace, root, run, socket, pause)
    argv: list[str | Path] = [programs.find("containerd"), "--config", config]
    daemon = Daemon(name, argv, config, text, root, run, workspace.logs / f"{name}.log", _CONTAINERD_SHARED)
    return Peer(name, socket, (str(socket),), daemon=daemon)


def _containerd_settings(workspace: Workspace, root: Path, run: Path, socket: Path, pause: str) -> str:
    # restrict_oom_score_adj: a bench in a container may not lower the score that a pause wants (-998).
    return f"""\
version = 2
root = "{root}"
state = "{run}"
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{network.plugin_directory()}"
conf_dir = "{workspace.cni_conf}"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{workspace.certs}"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{run}/runc"
"""
