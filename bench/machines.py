"""Virtual machines: how long podwright-vm takes to have one with a container, against plain QEMU with the same parts.

Plain QEMU (`raw-qemu`) is the floor: the same kernel, first file system, devices and virtiofsd, started by hand until
the agent says hello, without a container, network, jail or cgroup. Memory is of all of the host's processes together.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import programs
from bench.measures.base import Ground
from bench.samples import Samples
from bench.workspace import CGROUP_PARENT
from podwright.vm import qemu, virtiofsd
from podwright.vm.build_guest import Guest, GuestSettings, guest
from podwright.wire import guest_frames

SUBJECTS = ("machine",)
_PLAIN, _OURS, _ID = "raw-qemu", "podwright-vm", "bench"
_DEADLINE_S = 120.0
_MEMORY_BYTES = (128 + 64) << 20
_ROUNDS = 5


def measure(ground: Ground, rootfs: Path) -> None:
    """Boots in turns; the first of each is a warm-up."""
    made = guest(GuestSettings())
    directory = ground.workspace.scratch / "machines"
    directory.mkdir()
    for number in range(min(ground.scale.pods, _ROUNDS) + 1):
        samples = ground.samples if number else Samples()
        _plain(made, directory / f"plain-{number}", samples)
        _ours(rootfs, directory / f"ours-{number}", samples)


def _ours(rootfs: Path, directory: Path, samples: Samples) -> None:
    """A container with a machine to itself, of the size that plain QEMU gets, by the command line."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(_configuration(rootfs)))
    program: list[str | Path] = [Path(sys.executable).with_name("podwright-vm"), "--root", directory / "state"]
    with samples.timed("machine.boot", _OURS):
        files = ("--bundle", directory, "--pid-file", directory / "pid")
        programs.run_detached(*program, "create", *files, _ID, output=directory / "log")
    programs.run(*program, "start", _ID)
    with samples.timed("machine.exec", _OURS):
        programs.run(*program, "exec", _ID, "/bin/true")
    keeper = int((directory / "pid").read_text())
    samples.add("machine.memory", _OURS, _pss_mib(keeper), "MiB")
    with samples.timed("machine.down", _OURS):
        programs.run(*program, "delete", "--force", _ID)


def _configuration(rootfs: Path) -> dict[str, object]:
    return {
        "ociVersion": "1.0.2",
        "process": {"args": ["/bin/sleep", "1000000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": str(rootfs)},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "network", "ipc", "uts")],
            "cgroupsPath": f"{CGROUP_PARENT}/machine",
            "resources": {"memory": {"limit": 64 << 20}},
        },
    }


def _plain(made: Guest, directory: Path, samples: Samples) -> None:
    directory.mkdir()
    begin = time.perf_counter()
    with _qemu(made, directory) as (agent, pid):
        _await_hello(agent)
        samples.add("machine.boot", _PLAIN, (time.perf_counter() - begin) * 1000)
        samples.add("machine.memory", _PLAIN, _pss_mib(pid), "MiB")
        down = time.perf_counter()
    samples.add("machine.down", _PLAIN, (time.perf_counter() - down) * 1000)


@contextmanager
def _qemu(made: Guest, directory: Path) -> Iterator[tuple[socket.socket, int]]:
    """The agent's connection, and the pid; killed in the end."""
    files = virtiofsd.find_virtiofsd()
    assert files is not None
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as share:
        listener.bind(str(directory / "files"))
        listener.listen()
        shared = directory / "share"
        shared.mkdir()
        argv = [str(files), *virtiofsd.arguments(files, shared, listener.fileno())]
        daemon = subprocess.Popen(argv, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL)
        share.connect(str(directory / "files"))
        agent, its_agent = socket.socketpair()
        console, its_console = socket.socketpair()
        opened = [os.open(path, os.O_RDONLY) for path in (made.kernel, made.initrd)]
        hardware = qemu.Hardware(
            qemu.MICROVM, "tcg", _MEMORY_BYTES, 1, opened[0], opened[1], its_agent.fileno(), its_console.fileno(),
            share.fileno(),
        )  # fmt: skip
        machine = subprocess.Popen(
            [programs.find("qemu-system-x86_64"), *qemu.arguments(hardware)], pass_fds=hardware.descriptors()
        )
    try:
        with agent, console, its_agent, its_console:
            yield agent, machine.pid
    finally:
        machine.kill()
        machine.wait()
        daemon.wait(timeout=10)
        for descriptor in opened:
            os.close(descriptor)


def _await_hello(agent: socket.socket) -> None:
    decoder, deadline = guest_frames.Decoder(), time.monotonic() + _DEADLINE_S
    while select.select([agent], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if any(frame.kind == guest_frames.NOTICE for frame in decoder.feed(agent.recv(65536))):
            return
    raise programs.ProgramError("plain QEMU's agent said nothing")


def _pss_mib(pid: int) -> float:
    """A process and all below it."""
    total = 0
    found = [pid]
    for one in found:
        found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
