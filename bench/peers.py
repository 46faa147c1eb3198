"""The runtimes that are compared: how each is started on directories of its own, and stopped without a trace."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench import network, pods, processes, programs
from bench.client import Client
from bench.workspace import Workspace, make_spread, remove_empty, remove_tree

READY_TIMEOUT_S = 60
# What containerd and libcni make outside the directories they are given.
_CONTAINERD_SHARED = (Path("/run/containerd"), Path("/var/lib/cni"))


@dataclass
class Peer:
    """A runtime behind a socket. `marks` are paths that its monitors' command lines name."""

    name: str
    socket: Path
    marks: tuple[str, ...]
    handler: str = ""
    daemon: Daemon | None = None
    client: Client = field(init=False)

    def start(self) -> float:
        """Start the daemon if it is ours, connect, and wait until it is ready: the seconds that took."""
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
            return
        try:
            pods.remove_all(self.client)
        except grpc.RpcError as error:
            print(f"{self.name}: pods could not be removed: {error}", file=sys.stderr)
        self.client.close()
        if self.daemon is not None:
            self.daemon.stop(self.marks)

    def restart(self) -> None:
        """Stop and start afresh with empty directories, if the daemon is ours."""
        if self.daemon is not None:
            self.stop()
            self.start()

    def footprint(self) -> processes.Footprint:
        """The daemon's processes and its monitors, now."""
        return processes.footprint(self.client.daemon_pid(), self.marks)


@dataclass
class Daemon:
    """How to start a daemon of the bench's own: command line, configuration file, and the directories it fills."""

    name: str
    argv: list[str | Path]
    config: Path
    config_text: str
    root: Path
    run: Path
    log: Path
    shared: tuple[Path, ...] = ()
    """Directories outside its own that it may leave empty: removed when they weren't there before."""
    service: programs.Service | None = None

    def start(self) -> None:
        """Write the configuration and start the process."""
        self.shared = tuple(directory for directory in self.shared if not directory.exists())
        make_spread(self.root)
        self.run.mkdir()
        self.config.write_text(self.config_text)
        self.service = programs.Service(self.name, self.argv, self.log)

    def stop(self, marks: tuple[str, ...]) -> None:
        """Stop the process, kill monitors that it left, remove its directories."""
        if self.service is not None:
            self.service.stop()
        processes.kill_monitors(marks)
        self.service = None
        for directory in (self.root, self.run):
            remove_tree(directory)
        for directory in self.shared:
            remove_empty(directory)

    def tail(self) -> str:
        """The end of the daemon's log."""
        return self.service.tail() if self.service else ""


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


def _podwright_settings(workspace: Workspace, runtime: str) -> str:
    plugins = json.dumps([str(directory) for directory in network.PLUGIN_DIRECTORIES])
    return f"""\
[runtime]
default = "{runtime}"
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
