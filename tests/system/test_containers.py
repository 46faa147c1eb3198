"""Containers through the socket."""

from __future__ import annotations

import subprocess  # noqa: TID251 - tests look behind the daemon's back
import threading
import time
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.wire import cri_log
from tests.support.daemon import HELLO, WITH_SHIM, Daemon, container_config
from tests.system.test_pods import code_of, details_of

pytestmark = pytest.mark.root


@WITH_SHIM
def test_the_life_of_a_container(daemon: Daemon) -> None:
    image = daemon.images.ImageStatus(pb.ImageStatusRequest(image=pb.ImageSpec(image=HELLO))).image
    pod = daemon.run_pod()
    config = container_config(
        "main", "sh", "-c", "echo out; echo err >&2; printf last; sleep 1000",
        labels={"l": "1"}, annotations={"a": "2"},
    )  # fmt: skip
    container = daemon.create(pod, config)
    created = daemon.status(container)
    assert (created.state, created.started_at, created.finished_at) == (pb.CONTAINER_CREATED, 0, 0)
    assert created.created_at > 0
    daemon.start_container(container)
    running = daemon.status(container)
    assert running.state == pb.CONTAINER_RUNNING
    assert running.started_at >= running.created_at
    assert running.image_id == image.id
    assert running.image_ref
    assert running.image.image == HELLO
    assert (dict(running.labels), dict(running.annotations)) == ({"l": "1"}, {"a": "2"})
    item = daemon.containers()[0]
    assert (item.id, item.pod_sandbox_id, item.image_id, item.state) == (container, pod, image.id, pb.CONTAINER_RUNNING)
    daemon.wait_log(container, " last\n")
    daemon.stop_container(container, 0)
    ended = daemon.status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 137, "Error")
    assert ended.finished_at >= ended.started_at
    daemon.stop_container(container, 0)
    log = Path(ended.log_path)
    assert log.stat().st_mode & 0o777 == 0o640
    daemon.remove_container(container)
    daemon.remove_container(container)
    assert daemon.containers() == []
    text = log.read_text()
    assert " stdout F out\n" in text
    assert " stderr F err\n" in text
    assert " last\n" in text, "the last line without a newline is written"


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [("exit 0", 0, "Completed"), ("exit 7", 7, "Error"), ("kill -9 $$", 137, "Error"), ("kill -15 $$", 143, "Error")],
)
def test_exit_codes(crun_daemon: Daemon, script: str, code: int, reason: str) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    # The first process of a PID namespace ignores signals it does not handle: the shell's child must send it.
    command = f"sh -c '{script}'; exit $?" if "kill" in script else script
    container = crun_daemon.run_container(pod, "sh", "-c", command)
    status = crun_daemon.wait_exit(container)
    assert (status.exit_code, status.reason) == (code, reason)


def test_commands_that_end_before_their_start_returns(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    for number in range(15):
        container = daemon.run_container(pod, "echo", "done", name=f"quick-{number}")
        assert daemon.wait_exit(container).reason == "Completed"


def test_a_paused_container_can_be_stopped(daemon: Daemon) -> None:
    """In a freezer of cgroup v1 not even SIGKILL arrives."""
    container = daemon.run_container(daemon.run_pod(), "sleep", "1000")
    subprocess.run([*daemon.runtime_command(), "pause", container], check=True)
    daemon.stop_container(container, 0)
    assert daemon.status(container).exit_code == 137


@WITH_SHIM
def test_oom_kill_is_told_apart(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=15 << 20)
    container = daemon.run_container(pod, "sh", "-c", "x=a; while true; do x=$x$x; done", resources=resources)
    status = daemon.wait_exit(container)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def test_oom_of_a_child_that_the_container_survives_is_not_its_end(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=15 << 20)
    script = "sh -c 'x=a; while true; do x=$x$x; done'; exit 0"
    status = crun_daemon.wait_exit(crun_daemon.run_container(pod, "sh", "-c", script, resources=resources))
    assert (status.exit_code, status.reason) == (0, "Completed")


def test_resources_reach_the_cgroup(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(
        cpu_period=100000, cpu_quota=50000, cpu_shares=512, memory_limit_in_bytes=64 << 20
    )
    container = daemon.run_container(pod, "sleep", "1000", resources=resources)
    top = "/sys/fs/cgroup"
    script = f"cat {top}/memory/memory.limit_in_bytes {top}/cpu/cpu.cfs_quota_us {top}/cpu/cpu.shares"
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        script = "cat /sys/fs/cgroup/memory.max; cut -d' ' -f1 /sys/fs/cgroup/cpu.max; echo 512"
    assert daemon.exec(container, "sh", "-c", script).stdout.split() == [b"67108864", b"50000", b"512"]


def test_command_and_args_follow_the_image(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)

    def output(name: str, *command: str, args: tuple[str, ...] = ()) -> str:
        container = crun_daemon.run_container(pod, *command, name=name, args=args)
        crun_daemon.wait_exit(container)
        lines = cri_log.LogReader().feed(Path(crun_daemon.status(container).log_path).read_bytes())
        return b"".join(line.content + (b"" if line.partial else b"\n") for line in lines).decode()

    assert output("command", "echo", "a", "b") == "a b\n"
    assert output("both", "echo", args=("x",)) == "x\n"
    assert output("args-only", args=("echo", "y")) == "y\n"
    assert output("image-only") == "", "the image's /bin/sh reads an empty standard input"


def test_environment_user_and_directory(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    security = pb.LinuxContainerSecurityContext(
        run_as_user=pb.Int64Value(value=65534), run_as_group=pb.Int64Value(value=1234), supplemental_groups=[5678]
    )
    container = crun_daemon.run_container(
        pod, "sleep", "1000", env={"COLOUR": "grün", "PATH": "/bin:/x"}, security=security, working_dir="/new/dir"
    )
    script = 'echo "$(id -u):$(id -g):$(id -G) $COLOUR $PATH $(pwd) $HOME"'
    answer = crun_daemon.exec(container, "sh", "-c", script).stdout.decode()
    assert answer == "65534:1234:1234 5678 grün /bin:/x /new/dir /\n"
    user = crun_daemon.status(container).user.linux
    assert (user.uid, user.gid, list(user.supplemental_groups)) == (65534, 1234, [1234, 5678])


def test_mounts(crun_daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro" / "file").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "ro")
    mounts = [
        pb.Mount(container_path="/ro", host_path=str(tmp_path / "link"), readonly=True),
        pb.Mount(container_path="/rw", host_path=str(tmp_path / "made" / "for" / "me")),
        pb.Mount(container_path="/etc/hosts", host_path=str(tmp_path / "ro" / "file")),
    ]
    pod = crun_daemon.run_pod()
    container = crun_daemon.run_container(pod, "sleep", "1000", mounts=mounts)
    assert crun_daemon.exec(container, "cat", "/ro/file").stdout == b"content"
    assert crun_daemon.exec(container, "sh", "-c", "echo x > /ro/x").exit_code != 0
    assert crun_daemon.exec(container, "sh", "-c", "echo x > /rw/x").exit_code == 0
    assert (tmp_path / "made" / "for" / "me" / "x").read_text() == "x\n"
    assert crun_daemon.exec(container, "cat", "/etc/hosts").stdout == b"content", (
        "a given mount wins over the pod's file"
    )
    assert len(crun_daemon.status(container).mounts) == 3


def test_capabilities_seccomp_and_privileges(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True, privileged=True)
    default = pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault)
    plain = daemon.run_container(
        pod, "sleep", "1000", name="plain",
        security=pb.LinuxContainerSecurityContext(seccomp=default, no_new_privs=True),
    )  # fmt: skip
    status = daemon.exec(plain, "cat", "/proc/1/status").stdout.decode()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Seccomp"] == "2"
    assert facts["NoNewPrivs"] == "1"
    assert facts["CapInh"] == "0000000000000000"
    assert facts["CapEff"] == "00000000a80425fb", "the 14 capabilities that every runtime gives"
    privileged = daemon.run_container(
        pod, "sleep", "1000", name="privileged", security=pb.LinuxContainerSecurityContext(privileged=True)
    )
    status = daemon.exec(privileged, "cat", "/proc/1/status").stdout.decode()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    own = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    assert facts["Seccomp"] == "0"
    assert facts["CapEff"] == own["CapBnd"], "all that the daemon itself has"


def test_exec_sync(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000")
    answer = daemon.exec(container, "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out\n", b"err\n", 5)
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as late:
        daemon.exec(container, "sh", "-c", "sleep 777 & sleep 777", timeout=1)
    assert code_of(late) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 6
    assert b"sleep 777" not in daemon.exec(container, "ps").stdout, "the whole tree is gone"
    started = time.monotonic()
    answer = daemon.exec(container, "sh", "-c", "sleep 20 & echo done")
    assert (answer.stdout, answer.exit_code) == (b"done\n", 0)
    assert time.monotonic() - started < 5, "a child that keeps stdout open does not hang the call"
    answer = daemon.exec(container, "sh", "-c", "yes | head -c 20000000; echo end >&2")
    assert len(answer.stdout) == 16 << 20
    assert answer.stderr == b"end\n"


def test_exec_errors(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.create(pod, container_config("main", "sleep", "1000"))
    with pytest.raises(grpc.RpcError) as not_running:
        crun_daemon.exec(container, "true")
    assert code_of(not_running) == grpc.StatusCode.FAILED_PRECONDITION
    crun_daemon.start_container(container)
    with pytest.raises(grpc.RpcError) as unknown:
        crun_daemon.exec("f" * 64, "true")
    assert code_of(unknown) == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as empty:
        crun_daemon.exec(container)
    assert code_of(empty) == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError, match="timeout") as negative:
        crun_daemon.exec(container, "true", timeout=-1)
    assert code_of(negative) == grpc.StatusCode.INVALID_ARGUMENT


def test_stop_gives_grace_and_a_second_stop_shortens_it(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    stubborn = crun_daemon.run_container(
        pod, "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done", name="stubborn"
    )
    polite = crun_daemon.run_container(
        pod, "sh", "-c", "trap 'exit 3' TERM; while true; do sleep 0.1; done", name="polite"
    )
    time.sleep(0.3)  # noqa: TID251 - the traps must be set
    crun_daemon.stop_container(polite, 10)
    assert crun_daemon.status(polite).exit_code == 3
    started = time.monotonic()
    long_stop = threading.Thread(target=crun_daemon.stop_container, args=(stubborn, 60))
    long_stop.start()
    time.sleep(0.5)  # noqa: TID251 - the first stop must be waiting
    assert crun_daemon.status(stubborn).state == pb.CONTAINER_RUNNING
    crun_daemon.stop_container(stubborn, 1)
    long_stop.join(10)
    assert time.monotonic() - started < 6
    assert crun_daemon.status(stubborn).exit_code == 137


def test_a_missing_executable_is_told_in_the_runtimes_words(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    with pytest.raises(grpc.RpcError) as failed:
        daemon.run_container(pod, "/no/such/program")
    assert "no such" in details_of(failed).lower() or "not found" in details_of(failed).lower()
    for container in daemon.containers():
        status = daemon.status(container.id)
        assert (status.state, status.reason, status.exit_code) == (pb.CONTAINER_EXITED, "StartError", 128)
        daemon.remove_container(container.id)


def test_wrong_states_and_names(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.run_container(pod, "sleep", "1000")
    with pytest.raises(grpc.RpcError) as twice:
        crun_daemon.start_container(container)
    assert code_of(twice) == grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as taken:
        crun_daemon.create(pod, container_config("main", "sleep", "1"))
    assert code_of(taken) == grpc.StatusCode.ALREADY_EXISTS
    with pytest.raises(grpc.RpcError) as no_image:
        crun_daemon.create(pod, container_config("other", "sleep", image="localhost/none:latest"))
    assert code_of(no_image) == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as unknown:
        crun_daemon.status("f" * 64)
    assert code_of(unknown) == grpc.StatusCode.NOT_FOUND
    crun_daemon.stop_container("f" * 64)
    crun_daemon.remove_container("f" * 64)
    crun_daemon.stop_pod(pod)
    with pytest.raises(grpc.RpcError) as stopped:
        crun_daemon.create(pod, container_config("late", "sleep", "1"))
    assert code_of(stopped) == grpc.StatusCode.FAILED_PRECONDITION


def test_create_retried_returns_the_same_container(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    config = container_config("main", "sleep", "1000")
    request = pb.CreateContainerRequest(pod_sandbox_id=pod, config=config)
    with pytest.raises(grpc.RpcError):
        crun_daemon.runtime.CreateContainer(request, timeout=0.002)
    first = crun_daemon.create(pod, config)
    assert crun_daemon.create(pod, config) == first
    assert len(crun_daemon.containers()) == 1
