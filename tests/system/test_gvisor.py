"""Pods in gVisor, with Debian's runsc: one sentry a pod, and everything a container is asked for in it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from podwright.cli.manifest.cri_security import MASKED_PATHS, READONLY_PATHS
from podwright.criapi import api_pb2 as pb
from tests.support import names
from tests.support.command_line import CommandLine
from tests.support.daemon import Daemon, container_config, serving
from tests.support.images import refusal
from tests.support.remote import check_attach, check_exec_in_a_terminal

pytestmark = pytest.mark.root

CAP_NET_RAW = 13
SENTRY_KNOWS = (1 << 38) - 1 & ~(1 << CAP_NET_RAW)  # it takes the last one away from all: runsc flags, -net-raw
ECHO_HTTP = r"while true; do printf 'HTTP/1.0 200 OK\r\n\r\nfrom the sentry\n' | nc -l -p 8080 >/dev/null; done"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(Daemon(tmp_path_factory.mktemp("d"), runtime="crun")) as server:
        server.remove_pod(server.run_pod())  # the bridge is there from now on
        yield server


@pytest.fixture
def daemon(shared: Daemon) -> Iterator[Daemon]:
    yield shared
    shared.clear_pods()


@pytest.fixture
def restarting(tmp_path: Path) -> Iterator[Daemon]:
    with serving(Daemon(tmp_path, runtime="crun")) as server:
        yield server


def sentry_of(daemon: Daemon, pod: str) -> int:
    """The pid of the pod's sentry."""
    state = daemon.run / f"runtime/runsc/{pod}_sandbox:{pod}.state"
    return int(json.loads(state.read_bytes())["sandbox"]["pid"])


def test_a_pod_in_one_sentry(reaped: None, restarting: Daemon) -> None:
    """Two containers, their logs, exit codes, exec, network, and a restart of the daemon between."""
    daemon = restarting
    handlers = {h.name for h in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
    assert handlers == {"", "crun", "runc", "runsc", "shim", "nspawn", "vm"}
    pod = daemon.run_pod(handler="runsc")
    server = daemon.run_container(pod, "sh", "-c", ECHO_HTTP, name="server")
    short = daemon.run_container(pod, "sh", "-c", "echo out; echo err >&2; sleep 0.2; exit 7", name="short")
    assert daemon.wait_exit(short).exit_code == 7
    log = daemon.wait_log(short, "err").read_text()
    assert " stdout F out" in log
    assert " stderr F err" in log

    done = daemon.exec(server, "sh", "-c", "dmesg; hostname; echo no >&2; exit 3")
    assert b"gVisor" in done.stdout, "the kernel that answers is gVisor's"
    assert done.stdout.splitlines()[-1] == b"pod"
    assert (done.stderr, done.exit_code) == (b"no\n", 3)

    daemon.restart()
    assert daemon.status(server).state == pb.CONTAINER_RUNNING
    with socket.create_connection((daemon.pod_status(pod).network.ip, 8080), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = connection.makefile("rb")
        assert [answer.readline() for _ in range(3)][-1] == b"from the sentry\n"

    daemon.stop_container(server, grace=0)
    assert daemon.wait_exit(server).exit_code == 137
    assert daemon.pod_status(pod).state == pb.SANDBOX_READY
    daemon.remove_container(server)
    created = daemon.create(pod, container_config("late", "sleep", "1000"))
    daemon.stop_pod(pod)
    assert daemon.status(created).state == pb.CONTAINER_EXITED
    daemon.remove_pod(pod)
    assert daemon.leftovers() == []


def test_what_containers_are_given(reaped: None, daemon: Daemon) -> None:
    """All capabilities that the sentry knows, a seccomp filter, and processes that see each other."""
    pod = daemon.run_pod(handler="runsc", pid=pb.POD, privileged=True)
    shared = pb.NamespaceOption(pid=pb.POD)
    security = pb.LinuxContainerSecurityContext(privileged=True, namespace_options=shared)
    everything = daemon.run_container(pod, "sleep", "4321", name="everything", security=security)
    status = daemon.exec(everything, "cat", "/proc/self/status").stdout.decode()
    own = int(Path("/proc/self/status").read_text().partition("CapBnd:\t")[2][:16], 16)
    assert f"CapEff:\t{own & SENTRY_KNOWS:016x}" in status
    default = pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault)
    config = container_config(
        "filtered",
        "sleep",
        "1000",
        security=pb.LinuxContainerSecurityContext(seccomp=default, namespace_options=shared),
    )
    filtered = daemon.create(pod, config)
    daemon.start_container(filtered)
    assert b"Seccomp:\t2" in daemon.exec(filtered, "sh", "-c", "cat /proc/[0-9]*/status").stdout
    assert b"sleep\x004321" in daemon.exec(filtered, "sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
    assert daemon.exec(filtered, "cat", "/proc/1/cmdline").stdout.startswith(b"/pause")


def test_masked_and_read_only_paths(daemon: Daemon, tmp_path: Path) -> None:
    """Of the image, of a volume as a whole, and of what is not there. What the kubelet asks for is the sentry's own."""
    (tmp_path / "in-volume").write_text("shown")
    security = pb.LinuxContainerSecurityContext(
        masked_paths=["/etc/passwd", "/hidden", "/nowhere", *MASKED_PATHS],
        readonly_paths=["/tmp", "/read", "/nowhere", *READONLY_PATHS],
    )
    config = container_config("main", "sleep", "1000", security=security)
    for place in ("/hidden", "/hidden/below", "/read", "/rest"):
        config.mounts.add(host_path=str(tmp_path), container_path=place)
    container = daemon.create(daemon.run_pod(handler="runsc"), config)
    daemon.start_container(container)

    def shell(script: str) -> tuple[int, bytes, bytes]:
        done = daemon.exec(container, "sh", "-c", script)
        return done.exit_code, done.stdout, done.stderr

    assert shell("cat /etc/passwd; ls -A /hidden") == (0, b"", b"")
    assert shell("cat /read/in-volume /rest/in-volume") == (0, b"shownshown", b"")
    for place in ("/read", "/tmp", "/hidden"):
        code, _, said = shell(f"echo > {place}/new")
        assert code != 0
        assert b"Read-only file system" in said
    assert shell("echo > /rest/new; echo > /new; echo > /etc/new")[0] == 0
    assert (tmp_path / "in-volume").read_text() == "shown"


def test_the_sentry_is_killed(daemon: Daemon) -> None:
    """Its pod ends, with a reason; the other one goes on."""
    pods = [daemon.run_pod(name, handler="runsc") for name in ("one", "two")]
    one, two = (daemon.run_container(pod, "sleep", "1000") for pod in pods)
    os.kill(sentry_of(daemon, pods[0]), signal.SIGKILL)
    status = daemon.wait_exit(one)
    assert (status.exit_code, status.reason) == (137, "Error")
    assert "sentry" in status.message
    daemon.wait_until(lambda: daemon.pod_status(pods[0]).state == pb.SANDBOX_NOTREADY)
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=pods[0], verbose=True)
    assert "sandbox container" in json.loads(daemon.runtime.PodSandboxStatus(request).info["info"])["endedBecause"]
    assert daemon.pod_status(pods[1]).state == pb.SANDBOX_READY
    assert daemon.exec(two, "echo", "here").stdout == b"here\n"


def test_an_exec_that_takes_too_long(daemon: Daemon) -> None:
    """What it started is gone from the sentry, not only who waited for it."""
    container = daemon.run_container(daemon.run_pod(handler="runsc"), "sleep", "1000")
    code, _ = refusal(lambda: daemon.exec(container, "sh", "-c", "sleep 4321 & sleep 4321", timeout=1))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert b"4321" not in daemon.exec(container, "ps").stdout


BUSY = "i=0; while :; do i=$((i+1)); [ $((i % 20000)) = 0 ] && sleep 0.02; done"


def stats(daemon: Daemon, container: str) -> pb.ContainerStats:
    found = daemon.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container)).stats
    assert isinstance(found, pb.ContainerStats)
    return found


def test_statistics(daemon: Daemon) -> None:
    """The sentry knows whose processor time it is; whose memory, only where one container has all of it."""
    pod = daemon.run_pod(handler="runsc")
    busy = daemon.run_container(pod, "sh", "-c", BUSY, name="busy")
    first = stats(daemon, busy)
    assert first.memory.usage_bytes.value > 1 << 20
    assert first.memory.working_set_bytes.value == first.memory.usage_bytes.value
    idle = daemon.run_container(pod, "sleep", "1000", name="idle")
    daemon.wait_until(lambda: stats(daemon, busy).cpu.usage_core_nano_seconds.value > 200_000_000)
    daemon.wait_until(lambda: stats(daemon, busy).cpu.usage_nano_cores.value > 1_000_000)
    assert stats(daemon, busy).cpu.usage_core_nano_seconds.value > first.cpu.usage_core_nano_seconds.value
    assert stats(daemon, idle).cpu.usage_core_nano_seconds.value < 100_000_000
    assert not stats(daemon, idle).memory.HasField("usage_bytes"), "left out, not 0"
    of_pod = daemon.runtime.PodSandboxStats(pb.PodSandboxStatsRequest(pod_sandbox_id=pod)).stats
    assert {each.attributes.id for each in of_pod.linux.containers if each.cpu.usage_core_nano_seconds.value} >= {busy}
    assert of_pod.linux.memory.usage_bytes.value > 10 << 20, "with the sentry itself"


def test_limits_are_the_pods(daemon: Daemon) -> None:
    """A kubelet has sized the pod's cgroup before it asks for the container's: noted. Else nothing is changed."""
    more = pb.LinuxContainerResources(memory_limit_in_bytes=256 << 20, cpu_quota=50000, cpu_period=100000)
    ours = daemon.run_container(daemon.run_pod("ours", handler="runsc"), "sleep", "1000")
    code, words = refusal(lambda: update(daemon, ours, more))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "UpdatePodSandboxResources" in words
    parent = names.cgroup()
    made = [
        Path(f"/sys/fs/cgroup/{controller}{parent}")
        for controller in os.listdir("/sys/fs/cgroup")
        if controller != "unified"  # the kubelet makes none there
    ]
    for directory in made:
        directory.mkdir()
    try:
        theirs = daemon.run_container(daemon.run_pod(handler="runsc", cgroup_parent=parent), "sleep", "1000")
        update(daemon, theirs, more)
        assert daemon.status(theirs).resources.linux == more
        cpus = pb.LinuxContainerResources(cpuset_cpus="0")
        code, words = refusal(lambda: update(daemon, theirs, cpus))
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert "only memory, CPU shares and CPU quota" in words
    finally:
        for pod in daemon.pods():
            daemon.remove_pod(pod.id)
        for directory in made:
            directory.rmdir()


def update(daemon: Daemon, container: str, resources: pb.LinuxContainerResources) -> None:
    request = pb.UpdateContainerResourcesRequest(container_id=container, linux=resources)
    daemon.runtime.UpdateContainerResources(request)


def test_checkpoints_are_refused(daemon: Daemon, tmp_path: Path) -> None:
    """runsc's would end the pod; it goes on."""
    container = daemon.run_container(daemon.run_pod(handler="runsc"), "sleep", "1000")
    request = pb.CheckpointContainerRequest(container_id=container, location=str(tmp_path / "c.tar"))
    code, words = refusal(lambda: daemon.runtime.CheckpointContainer(request))
    assert code == grpc.StatusCode.UNIMPLEMENTED
    assert "ends the sentry" in words
    assert not (tmp_path / "c.tar").exists()
    assert daemon.exec(container, "echo", "here").stdout == b"here\n"


def test_streams(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exec in a terminal and attach; without one, and ports, are test_side_by_side's."""
    with serving(Daemon(tmp_path, runtime="runsc")) as daemon:
        podwright = CommandLine(daemon.socket, capfd, monkeypatch)
        for check in (check_exec_in_a_terminal, check_attach):
            directory = tmp_path / check.__name__
            directory.mkdir()
            check(podwright, directory)


PLATFORMS = """
[monitor]
create_timeout_s = 5
[runtime.handlers.ptrace]
path = "runsc"
options = ["--platform=ptrace"]
[runtime.handlers.systrap]
path = "runsc"
options = ["--platform=systrap"]
[runtime.handlers.kvm]
path = "runsc"
options = ["--platform=kvm"]
"""


def test_platforms(tmp_path: Path) -> None:
    """An option chooses one. What runsc or the machine doesn't have is an error, and leaves nothing: no sentry that
    hangs in a KVM that only looks like one."""
    with serving(Daemon(tmp_path, runtime="crun", config=PLATFORMS)) as daemon:
        platforms = {"ptrace"}
        for name in ("ptrace", "systrap", "kvm"):
            try:
                container = daemon.run_container(daemon.run_pod(name, handler=name), "sleep", "1000")
            except grpc.RpcError as error:
                said = {"systrap": "unknown platform: systrap", "kvm": ""}[name]
                assert said in str(error)  # noqa: PT017 - what fails depends on runsc's version, and on the machine
                continue
            platforms.add(name)
            assert daemon.exec(container, "echo", "here").stdout == b"here\n"
        assert len(daemon.pods()) == len(platforms), "none of a pod that failed is left"
        daemon.clear_pods()


def test_the_hosts_namespaces_are_not_to_be_had(daemon: Daemon) -> None:
    code, words = refusal(lambda: daemon.run_pod(handler="runsc", host_network=True))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "kernel of their own" in words


def test_a_command_that_is_not_there(daemon: Daemon) -> None:
    pod = daemon.run_pod(handler="runsc")
    code, words = refusal(lambda: daemon.run_container(pod, "/nowhere"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "/nowhere" in words
    (container,) = daemon.containers()
    status = daemon.status(container.id)
    assert (status.reason, status.exit_code) == ("StartError", 128)
