"""The raw parts without any daemon: namespace, CNI plugins, OCI runtime, fetch and unpack, run by hand.

They are noted as peers of their own (`raw-runc`, `raw-crun`, `raw-tools`) under the metrics of the same work, so that
a table can tell what a daemon adds. The container is plainer than a pod's (no seccomp, no overlay, no log).
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import images, machines, programs
from bench.measures.base import Ground
from bench.registry import Registry
from bench.samples import Samples
from bench.workspace import CGROUP_PARENT, remove_tree
from podwright.linux import syscalls

RUNTIMES = ("runc", "crun")
_HYBRID = Path("/sys/fs/cgroup/unified")


class RawRuntime:
    """An OCI runtime and a bundle, without a daemon."""

    def __init__(self, name: str, directory: Path, prefix: list[str | Path]) -> None:
        self.name, self.directory = name, directory
        self._command: list[str | Path] = [*prefix, programs.find(name), "--root", directory / "state"]
        self._log = directory / "runtime.log"

    def prepare(self, rootfs: Path) -> None:
        """Write the bundle's configuration: the runtime's own template with a namespace and limits set."""
        (self.directory / "bundle").mkdir(parents=True)
        programs.run(programs.find("runc"), "spec", "--bundle", self.directory / "bundle")
        config = self._config()
        config["process"].update(terminal=False, args=["/bin/sleep", "1000000"])
        config["root"] = {"path": str(rootfs), "readonly": False}
        config["linux"]["cgroupsPath"] = f"{CGROUP_PARENT}/raw-{self.name}"
        config["linux"]["resources"].update(
            memory={"limit": 128 << 20}, cpu={"shares": 512, "quota": 100_000, "period": 100_000}
        )
        self._write(config)

    def up(self, netns: str | None) -> None:
        """Create and start a container in a network namespace, or in the host's."""
        config = self._config()
        others = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "network"]
        config["linux"]["namespaces"] = others + ([{"type": "network", "path": netns}] if netns else [])
        self._write(config)
        files = ("--bundle", self.directory / "bundle", "--pid-file", self.directory / "pid")
        create = [*self._command, "create", *files, self.name]
        programs.run_detached(*create, output=self._log)
        programs.run(*self._command, "start", self.name)

    def execute(self) -> None:
        """Run /bin/true in the container."""
        programs.run(*self._command, "exec", self.name, "/bin/true")

    def down(self) -> None:
        """Kill, wait for the end, delete: `delete --force` of runc sleeps 100 ms between the first two."""
        pidfd = os.pidfd_open(int((self.directory / "pid").read_text()))
        programs.run(*self._command, "kill", self.name, "KILL")
        select.select([pidfd], [], [], 10)
        os.close(pidfd)
        programs.run(*self._command, "delete", self.name)

    def _config(self) -> Any:
        return json.loads((self.directory / "bundle/config.json").read_text())

    def _write(self, config: Any) -> None:
        (self.directory / "bundle/config.json").write_text(json.dumps(config))


def measure_pods(ground: Ground, subjects: set[str]) -> None:
    """Time the parts of a pod for each runtime, in turns."""
    with ExitStack() as stack:
        rootfs = _rootfs(ground, stack)
        runtimes = [RawRuntime(name, ground.workspace.scratch / f"raw-{name}", _prefix(name, ground, stack))
                    for name in RUNTIMES]  # fmt: skip
        for runtime in runtimes:
            runtime.prepare(rootfs)
        for number in range(ground.scale.pods + 1):
            for runtime in runtimes:
                samples = ground.samples if number else Samples()  # the first round is a warm-up
                turn = dataclasses.replace(ground, samples=samples)
                if "pod" in subjects or "exec" in subjects:
                    _bridge_pod(turn, runtime)
                if "hostpod" in subjects:
                    _host_pod(turn, runtime)


def measure_machines(ground: Ground) -> None:
    """Time virtual machines with the pod image in them."""
    with ExitStack() as stack:
        machines.measure(ground, _rootfs(ground, stack))


def measure_pulls(ground: Ground, registry: Registry) -> None:
    """Time curl, the decompressor and tar in one pipeline for each layer in turn."""
    for number in range(ground.scale.pulls + 1):
        for recipe in images.PULLS:
            urls = registry.blobs(recipe)
            target = ground.workspace.scratch / f"raw-pull-{recipe.name}-{number}"
            target.mkdir()
            os.sync()
            begin = time.perf_counter()
            for url in urls:
                programs.pipeline(f"curl -sf {url} | {recipe.compression} -dc | tar -x -C {target}")
            took_ms = (time.perf_counter() - begin) * 1000
            remove_tree(target)
            if number:
                ground.samples.add(f"pull.{recipe.name}", "raw-tools", took_ms)


def _bridge_pod(ground: Ground, runtime: RawRuntime) -> None:
    peer, samples = f"raw-{runtime.name}", ground.samples
    with samples.timed("pod.ready", peer):
        with samples.timed("raw.netns", peer):
            fd = _make_netns()
        # By way of the descriptor, for crun may be in another mount namespace.
        netns = f"/proc/{os.getpid()}/fd/{fd}"
        with samples.timed("raw.cni_add", peer):
            ground.network.invoke("ADD", peer, netns)
        with samples.timed("raw.create_start", peer):
            runtime.up(netns)
    for _ in range(3):
        with samples.timed("exec.ExecSync", peer):
            runtime.execute()
    with samples.timed("pod.down", peer):
        with samples.timed("raw.delete", peer):
            runtime.down()
        with samples.timed("raw.cni_del", peer):
            ground.network.invoke("DEL", peer, netns)
        os.close(fd)


def _host_pod(ground: Ground, runtime: RawRuntime) -> None:
    peer, samples = f"raw-{runtime.name}", ground.samples
    with samples.timed("hostpod.ready", peer):
        runtime.up(None)
    with samples.timed("hostpod.down", peer):
        runtime.down()


def _make_netns() -> int:
    """Make a network namespace in a thread of its own; it lives as long as the descriptor that is returned."""
    made: list[int] = []

    def make() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        made.append(os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _rootfs(ground: Ground, stack: ExitStack) -> Path:
    """The pod image's only layer, unpacked."""
    directory = ground.workspace.scratch / "raw-rootfs"
    directory.mkdir()
    stack.callback(remove_tree, directory)
    layout = images.layout(ground.workspace, images.POD)
    manifest = _blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])
    layer = _blob(layout, json.loads(manifest.read_text())["layers"][0]["digest"])
    programs.run("tar", "-xf", layer, "-C", directory)
    return directory


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _prefix(runtime: str, ground: Ground, stack: ExitStack) -> list[str | Path]:
    """How to call a runtime: crun, on a host with both cgroup versions, from where `unified` can't be seen."""
    if runtime != "crun" or not _HYBRID.is_dir():
        return []
    pid = stack.enter_context(_without_unified(ground))
    return [programs.find("nsenter"), f"--mount=/proc/{pid}/ns/mnt"]


@contextmanager
def _without_unified(ground: Ground) -> Iterator[int]:
    """A process in a mount namespace of its own that has no `/sys/fs/cgroup/unified`."""
    script = f"umount {_HYBRID} && echo ready && exec sleep 1000000"
    argv: list[str | Path] = [
        programs.find("unshare"), "--mount", "--propagation", "private", "sh", "-c", script,
    ]  # fmt: skip
    log = ground.workspace.scratch / "unshare.log"
    service = programs.Service("unshare", argv, log)
    try:
        while "ready" not in log.read_text():
            service.check()
            time.sleep(0.01)
        yield service.pid
    finally:
        service.stop()
