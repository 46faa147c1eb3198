"""Pods as virtual machines, by podwright-vm with Debian's QEMU and kernel: one machine a pod, everything in it.

A machine boots in seconds, so all tests share two of them, and a pod of the host's kernel beside them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from podwright.base.streams import ProcessStreams, TerminalSize
from podwright.criapi import api_pb2 as pb
from podwright.streaming import client
from tests.support.daemon import Daemon, container_config, serving
from tests.support.images import refusal
from tests.support.streaming import Bytes, Collected, sizes
from tests.system.test_streaming import TERMINAL, exec_url

pytestmark = pytest.mark.root

MB = 1 << 20
SERVE = "while true; do echo from {name} | nc -l -p 8080 >/dev/null; done"
ASK = "for i in 1 2 3 4 5 6 7 8 9; do nc {address} 8080 </dev/null && exit 0; sleep 0.2; done; exit 9"


@dataclass(frozen=True)
class Pods:
    """Two machines and a pod of the host's kernel, each with a container that serves and others that are asked for."""

    daemon: Daemon
    ids: dict[str, str]
    servers: dict[str, str]

    def ip(self, name: str) -> str:
        return self.daemon.pod_status(self.ids[name]).network.ip

    def hears(self, name: str, address: str) -> str:
        """What a server at the address tells a pod's container."""
        command = ("sh", "-c", ASK.format(address=address))
        return self.daemon.exec(self.servers[name], *command, timeout=60).stdout.decode().strip()


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with serving(Daemon(tmp_path_factory.mktemp("d"), runtime="crun")) as daemon:
        wanted = {"one": "vm", "two": "vm", "plain": "crun"}

        def bring_up(name: str) -> tuple[str, str]:
            pod = daemon.run_pod(name, handler=wanted[name], sysctls={"kernel.shm_rmid_forced": "1"})
            return pod, daemon.run_container(pod, "sh", "-c", SERVE.format(name=name), name="server")

        with ThreadPoolExecutor() as executor:
            made = dict(zip(wanted, executor.map(bring_up, wanted), strict=True))
        yield Pods(daemon, {k: pod for k, (pod, _) in made.items()}, {k: server for k, (_, server) in made.items()})


def machine_of(daemon: Daemon, pod: str) -> int:
    """The pid of a pod's QEMU."""
    keeper = json.loads((daemon.run / f"runtime/vm/{pod}/state.json").read_bytes())["pid"]
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return next(int(pid) for pid in children if b"-kernel" in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_containers_of_a_machine(pods: Pods) -> None:
    """Another kernel, output and exit codes, and what can't be executed."""
    daemon, pod = pods.daemon, pods.ids["one"]
    assert "vm" in {handler.name for handler in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
    script = "uname -r; hostname; cat /proc/sys/kernel/shm_rmid_forced; echo no >&2; exit 3"
    done = daemon.exec(pods.servers["one"], "sh", "-c", script)
    release, hostname, *sysctls = done.stdout.decode().split()
    assert sysctls == ["1"]
    assert release != os.uname().release
    assert (hostname, done.stderr, done.exit_code) == ("one", b"no\n", 3)
    short = daemon.run_container(pod, "sh", "-c", "echo out; echo err >&2; exit 7", name="short")
    assert daemon.wait_exit(short, timeout_s=60).exit_code == 7
    log = daemon.wait_log(short, "err").read_text()
    assert " stdout F out" in log
    assert " stderr F err" in log
    daemon.remove_container(short)
    code, words = refusal(lambda: daemon.run_container(pod, "/nowhere", name="missing"))
    assert (code, "/nowhere" in words) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    code, words = refusal(lambda: daemon.exec(pods.servers["one"], "/nowhere"))
    assert "/nowhere" in words
    for container in daemon.containers():
        if container.metadata.name == "missing":
            daemon.remove_container(container.id)


def test_everybody_reaches_everybody(pods: Pods) -> None:
    """Containers of a pod by the loopback, pods by their addresses, whatever kernel they have."""
    beside = pods.daemon.run_container(pods.ids["one"], "sleep", "1000", name="beside")
    done = pods.daemon.exec(beside, "sh", "-c", ASK.format(address="127.0.0.1"), timeout=60)
    assert done.stdout == b"from one\n"
    pods.daemon.remove_container(beside)
    for asks, told in (("one", "two"), ("two", "one"), ("plain", "one"), ("one", "plain")):
        assert pods.hears(asks, pods.ip(told)) == f"from {told}"
    with socket.create_connection((pods.ip("two"), 8080), timeout=10) as connection:
        assert connection.makefile("rb").readline() == b"from two\n"


def test_a_read_only_root_gets_its_mount_points(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host")
    mounts = [pb.Mount(container_path="/nowhere/yet", host_path=str(tmp_path / "file"))]
    security = pb.LinuxContainerSecurityContext(readonly_rootfs=True)
    script = "cat /nowhere/yet; touch /new || echo read-only; sleep 1000"
    container = pods.daemon.run_container(
        pods.ids["one"], "sh", "-c", script, name="fixed", mounts=mounts, security=security
    )
    assert "of the host" in pods.daemon.wait_log(container, "read-only", timeout_s=60).read_text()
    pods.daemon.remove_container(container)


def test_files_of_the_host(pods: Pods, tmp_path: Path) -> None:
    """Directories, single files, and what is read-only."""
    volume, single = tmp_path / "volume", tmp_path / "single"
    volume.mkdir()
    (volume / "in").write_text("from the host")
    single.write_text("alone")
    mounts = [
        pb.Mount(container_path="/volume", host_path=str(volume)),
        pb.Mount(container_path="/single", host_path=str(single), readonly=True),
    ]
    script = "cat /volume/in /single; echo back > /volume/out; echo no > /single; grep -c nameserver /etc/resolv.conf"
    container = pods.daemon.run_container(pods.ids["one"], "sh", "-c", script, name="files", mounts=mounts)
    pods.daemon.wait_exit(container, timeout_s=60)
    log = pods.daemon.wait_log(container, "Read-only").read_text()
    assert "from the host" in log
    assert "alone" in log
    assert (volume / "out").read_text() == "back\n"
    assert single.read_text() == "alone"
    pods.daemon.remove_container(container)


async def test_a_terminal(pods: Pods) -> None:
    out = Collected()
    script = "until [ \"$(stty size)\" = '33 90' ]; do sleep 0.1; done; stty size"
    typed = Bytes(b"", endless=True)
    streams = ProcessStreams(typed, out, None, sizes(TerminalSize(70, 20), TerminalSize(90, 33)))
    url = exec_url(pods.daemon, pods.servers["one"], "sh", "-c", script, wanted=TERMINAL)
    async with asyncio.timeout(30):
        outcome = await client.remote_command(url, TERMINAL, streams)
    assert outcome.exit_code == 0
    assert b"33 90\r\n" in bytes(out.data)


def test_limits_and_want_of_memory(pods: Pods) -> None:
    """They hold in the machine; the kernel that kills is the machine's."""
    daemon = pods.daemon
    limits = pb.LinuxContainerResources(memory_limit_in_bytes=24 * MB)
    greedy = "read -r max < /sys/fs/cgroup/memory.max; echo max $max; x=a; while :; do x=$x$x; done"
    container = daemon.run_container(pods.ids["one"], "sh", "-c", greedy, name="greedy", resources=limits)
    status = daemon.wait_exit(container, timeout_s=60)
    assert (status.reason, status.exit_code) == ("OOMKilled", 137)
    assert f"max {24 * MB}" in Path(status.log_path).read_text()
    daemon.remove_container(container)
    change = pb.LinuxContainerResources(memory_limit_in_bytes=48 * MB)
    daemon.runtime.UpdateContainerResources(
        pb.UpdateContainerResourcesRequest(container_id=pods.servers["one"], linux=change)
    )
    tiny = pb.LinuxContainerResources(memory_limit_in_bytes=4096)
    request = pb.UpdateContainerResourcesRequest(container_id=pods.servers["one"], linux=tiny)
    code, words = refusal(lambda: daemon.runtime.UpdateContainerResources(request))
    assert (code, "can't be decreased" in words) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    done = daemon.exec(pods.servers["one"], "cat", "/sys/fs/cgroup/memory.max")
    assert done.stdout == b"%d\n" % (48 * MB)


def test_the_hosts_namespaces_are_not_to_be_had(pods: Pods) -> None:
    code, words = refusal(lambda: pods.daemon.run_pod("host", handler="vm", host_network=True))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "kernel of their own" in words


def test_an_exec_that_takes_too_long(pods: Pods) -> None:
    """What it started is gone from the machine, not only who waited for it."""
    server = pods.servers["two"]
    code, _ = refusal(lambda: pods.daemon.exec(server, "sh", "-c", "sleep 4321 & sleep 4321", timeout=1))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert b"4321" not in pods.daemon.exec(server, "ps").stdout


def test_restarts_and_ends(reaped: None, pods: Pods) -> None:
    """A restart of the daemon changes nothing. The end of a machine is that of its pod, with a reason, and of no other.
    Nothing is left in the end."""
    daemon = pods.daemon
    daemon.kill()
    daemon.start()
    assert daemon.status(pods.servers["two"]).state == pb.CONTAINER_RUNNING
    assert pods.hears("two", pods.ip("one")) == "from one"

    os.kill(machine_of(daemon, pods.ids["one"]), signal.SIGKILL)
    status = daemon.wait_exit(pods.servers["one"], timeout_s=60)
    assert (status.exit_code, status.reason) == (137, "Error")
    assert "virtual machine has ended: QEMU was killed by signal 9" in status.message
    daemon.wait_until(lambda: daemon.pod_status(pods.ids["one"]).state == pb.SANDBOX_NOTREADY)
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=pods.ids["one"], verbose=True)
    assert "sandbox container" in json.loads(daemon.runtime.PodSandboxStatus(request).info["info"])["endedBecause"]
    assert daemon.pod_status(pods.ids["two"]).state == pb.SANDBOX_READY
    assert pods.hears("two", pods.ip("plain")) == "from plain"

    created = daemon.create(pods.ids["two"], container_config("late", "sleep", "1000"))
    daemon.stop_container(pods.servers["two"], grace=0)
    assert daemon.wait_exit(pods.servers["two"]).exit_code == 137
    daemon.stop_pod(pods.ids["two"])
    assert daemon.status(created).state == pb.CONTAINER_EXITED
    daemon.clear_pods()
    daemon.stop()
