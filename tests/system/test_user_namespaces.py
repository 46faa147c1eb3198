"""Pods with user namespaces through the socket: whose ids they show to whom, what they own, what is left of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config, pod_config
from tests.support.images import refusal
from tests.support.user_namespaces import FIRST, mapping, pass_through, userns_options
from tests.system.test_pods import code_of, details_of

pytestmark = pytest.mark.root


@pytest.fixture
def daemon(daemon: Daemon) -> Iterator[Daemon]:
    null = os.stat("/dev/null")
    yield daemon
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid, after.st_mode) == (null.st_uid, null.st_gid, null.st_mode), "the host's own"


def run_pod(daemon: Daemon, name: str = "pod", *, options: pb.NamespaceOption | None = None, **more: Any) -> str:
    config = pod_config(name, daemon.directory / "logs" / name, **more)
    config.linux.security_context.namespace_options.CopyFrom(options or userns_options())
    return str(daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id)


def security(**more: Any) -> pb.LinuxContainerSecurityContext:
    return pb.LinuxContainerSecurityContext(namespace_options=userns_options(), **more)


def run_container(
    daemon: Daemon, pod: str, *, context: pb.LinuxContainerSecurityContext | None = None, **more: Any
) -> str:
    return daemon.run_container(pod, "sleep", "1000", security=context or security(), **more)


def shell(daemon: Daemon, container: str, script: str) -> str:
    answer = daemon.exec(container, "sh", "-c", script)
    assert answer.exit_code == 0, answer
    return answer.stdout.decode().strip()


def info_of(daemon: Daemon, container: str) -> dict[str, Any]:
    request = pb.ContainerStatusRequest(container_id=container, verbose=True)
    info: dict[str, Any] = json.loads(daemon.runtime.ContainerStatus(request).info["info"])
    return info


def test_root_inside_is_nobody_outside(daemon: Daemon) -> None:
    features = {h.name: h.features for h in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
    assert features[""].user_namespaces
    pod = run_pod(daemon, sysctls={"net.ipv4.ip_local_port_range": "2000 3000", "kernel.shm_rmid_forced": "1"})
    assert daemon.pod_status(pod).linux.namespaces.options == userns_options()
    container = run_container(daemon, pod, working_dir="/made/for/it")
    assert shell(daemon, container, "cat /proc/self/uid_map /proc/self/gid_map").split() == ["0", "200000", "65536"] * 2
    info = info_of(daemon, container)
    status = Path(f"/proc/{info['pid']}/status").read_text()
    assert f"\nUid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}\n" in status
    assert "Seccomp:\t0" in status
    # What is the image's, the pod's and its own is root's inside, and the namespace's root's outside.
    places = "/ /bin/busybox /etc/hosts /etc/resolv.conf /etc/hostname /dev/shm /made/for/it"
    assert set(shell(daemon, container, f"stat -c %u:%g {places}").split()) == {"0:0"}
    shell(daemon, container, "touch /written /dev/shm/x && echo more >> /etc/passwd && mv /etc/group /etc/g")
    assert os.stat(Path(info["rootfs"], "written")).st_uid == FIRST
    # The pod owns its network and IPC namespaces: sysctls are set, raw sockets and ping work, sysfs is its own.
    assert shell(daemon, container, "cat /proc/sys/net/ipv4/ip_local_port_range").split() == ["2000", "3000"]
    assert shell(daemon, container, "cat /proc/sys/kernel/shm_rmid_forced; hostname").split() == ["1", "pod"]
    assert "1 packets received" in shell(daemon, container, "ping -c 1 -W 5 127.0.0.1")
    assert shell(daemon, container, "ls /sys/class/net | sort").split() == ["eth0", "lo"]


def test_a_user_of_the_container_and_what_the_host_sees(daemon: Daemon) -> None:
    pod = run_pod(daemon)
    context = security(
        run_as_user=pb.Int64Value(value=1000), run_as_group=pb.Int64Value(value=2000), supplemental_groups=[3000],
        no_new_privs=True, seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
    )  # fmt: skip
    container = run_container(daemon, pod, context=context)
    assert shell(daemon, container, "echo $(id -u):$(id -g):$(id -G)") == "1000:2000:2000 3000"
    user = daemon.status(container).user.linux
    assert (user.uid, user.gid, list(user.supplemental_groups)) == (1000, 2000, [2000, 3000])
    status = Path(f"/proc/{info_of(daemon, container)['pid']}/status").read_text()
    assert f"\nUid:\t{FIRST + 1000}\t" in status
    assert f"\nGroups:\t{FIRST + 2000} {FIRST + 3000}" in status
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status


def test_privileged_is_privileged_in_the_namespace_only(daemon: Daemon) -> None:
    pod = run_pod(daemon, options=None)
    with pytest.raises(grpc.RpcError) as refused:
        run_container(daemon, pod, context=security(privileged=True))
    assert code_of(refused) == grpc.StatusCode.FAILED_PRECONDITION
    config = pod_config("p", daemon.directory / "logs" / "p", privileged=True)
    config.linux.security_context.namespace_options.CopyFrom(userns_options())
    pod = daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id
    container = run_container(daemon, pod, context=security(privileged=True))
    shell(daemon, container, "mkdir /m && mount -t tmpfs none /m && hostname other && ip link set lo down")
    assert daemon.exec(container, "sh", "-c", "echo x > /proc/sys/kernel/core_pattern").exit_code != 0


def volumes(tmp_path: Path) -> list[pb.Mount]:
    (tmp_path / "mapped" / "below").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").write_text("content")
    ids: dict[str, Any] = {"uidMappings": mapping(), "gidMappings": mapping()}
    return [
        pb.Mount(container_path="/mapped", host_path=str(tmp_path / "mapped"), **ids),
        pb.Mount(container_path="/file", host_path=str(tmp_path / "file"), readonly=True, **ids),
        pb.Mount(container_path="/new", host_path=str(tmp_path / "new"), **ids),
        pb.Mount(container_path="/plain", host_path=str(tmp_path / "plain")),
        pb.Mount(
            container_path="/other", host_path=str(tmp_path / "mapped"), uidMappings=mapping(FIRST + 7, 10),
            gidMappings=mapping(FIRST + 7, 10),
        ),
    ]  # fmt: skip


def test_volumes_show_the_owners_they_have_on_disk(daemon: Daemon, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)  # as the kubelet's directories are: closed to the namespace's root
    pod = run_pod(daemon)
    mounts = volumes(tmp_path)
    os.chown(tmp_path / "mapped" / "below", 5, 6)
    container = run_container(daemon, pod, mounts=mounts)
    assert shell(daemon, container, "stat -c %u:%g /mapped /mapped/below /file /new /plain /other").split() == [
        "0:0", "5:6", "0:0", "0:0", "65534:65534", "7:7",
    ]  # fmt: skip
    shell(daemon, container, "echo > /mapped/x && chown 8:9 /mapped/x && echo > /new/y && cat /file")
    assert daemon.exec(container, "sh", "-c", "echo x > /file").exit_code != 0
    assert daemon.exec(container, "sh", "-c", "echo > /plain/x").exit_code != 0
    assert (os.stat(tmp_path / "mapped" / "x").st_uid, os.stat(tmp_path / "mapped" / "x").st_gid) == (8, 9)
    assert os.stat(tmp_path / "new" / "y").st_uid == 0
    bundle = info_of(daemon, container)["bundle"]
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{bundle}/volumes" in line]


def test_a_file_system_that_cant_be_mapped_is_named(daemon: Daemon) -> None:
    pod = run_pod(daemon)
    mount = pb.Mount(
        container_path="/mapped", host_path="/sys/kernel", readonly=True, uidMappings=mapping(), gidMappings=mapping()
    )
    with pytest.raises(grpc.RpcError) as refused:
        run_container(daemon, pod, mounts=[mount])
    assert code_of(refused) == grpc.StatusCode.INVALID_ARGUMENT
    assert "mounts[0]" in details_of(refused)
    assert "/sys/kernel" in details_of(refused)
    assert daemon.containers() == []


def test_a_shared_pid_namespace_belongs_to_the_pod_too(daemon: Daemon) -> None:
    options = userns_options()
    options.pid = pb.POD
    pod = run_pod(daemon, options=options)
    context = pb.LinuxContainerSecurityContext(namespace_options=options)
    first, second = (run_container(daemon, pod, context=context, name=name) for name in ("first", "second"))
    assert shell(daemon, second, "ps -o args").count("sleep 1000") == 2
    target = userns_options()
    target.pid, target.target_id = pb.TARGET, first
    debugger = run_container(
        daemon, pod, context=pb.LinuxContainerSecurityContext(namespace_options=target), name="debug"
    )
    assert shell(daemon, debugger, "ps -o args").count("sleep 1000") == 3


WRONG = [
    (userns_options(mode=pb.CONTAINER), "userns_options.mode"),
    (userns_options(mode=pb.TARGET), "userns_options.mode"),
    (userns_options(uids=mapping() * 2), "userns_options.uids"),
    (userns_options(gids=[]), "userns_options.gids"),
    (userns_options(gids=mapping(inside=1)), "userns_options.gids[0].container_id"),
    (userns_options(uids=mapping(length=0)), "userns_options.uids[0]"),
    (userns_options(uids=mapping(first=2**32 - 10)), "userns_options.uids[0]"),
]


def test_wrong_mappings_are_refused_and_leave_nothing(crun_daemon: Daemon) -> None:
    for options, field in WRONG:
        code, words = refusal(partial(run_pod, crun_daemon, options=options))
        assert code == grpc.StatusCode.INVALID_ARGUMENT, options
        assert field in words
    for kind in ("pid", "ipc"):  # the host's are not for pods with their own users
        options = userns_options()
        setattr(options, kind, pb.NODE)
        code, words = refusal(partial(run_pod, crun_daemon, options=options))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert f"namespace_options.{kind}" in words
    assert crun_daemon.pods() == []


def test_a_container_has_its_pods_user_namespace(tmp_path: Path, crun_daemon: Daemon) -> None:
    pass_through(tmp_path)
    crun_daemon.restart()
    pod, plain = run_pod(crun_daemon), run_pod(crun_daemon, "plain", options=userns_options(mode=pb.NODE))
    other = userns_options(uids=mapping(300_000))
    for where, options in ((pod, other), (pod, userns_options(mode=pb.NODE)), (plain, userns_options())):
        context = pb.LinuxContainerSecurityContext(namespace_options=options)
        with pytest.raises(grpc.RpcError) as refused:
            crun_daemon.run_container(where, "sleep", "1000", security=context)
        assert code_of(refused) == grpc.StatusCode.INVALID_ARGUMENT
        assert "userns_options" in details_of(refused)
    assert crun_daemon.containers() == []
    silent = crun_daemon.run_container(pod, "sleep", "1000", name="silent")
    assert shell(crun_daemon, silent, "cat /proc/self/uid_map").split() == ["0", "200000", "65536"]
    hosts = Path("/proc/self/uid_map").read_text().split()
    assert (
        shell(crun_daemon, crun_daemon.run_container(plain, "sleep", "1000"), "cat /proc/self/uid_map").split() == hosts
    )


def test_a_restart_changes_nothing(daemon: Daemon) -> None:
    pod = run_pod(daemon)
    container = run_container(daemon, pod)
    created = daemon.create(pod, container_config("created", "sleep", "1000", security=security()))
    daemon.kill()
    daemon.start()
    assert daemon.pod_status(pod).state == pb.SANDBOX_READY
    assert daemon.status(container).state == pb.CONTAINER_RUNNING
    assert shell(daemon, container, "cat /proc/self/uid_map").split()[1] == "200000"
    daemon.start_container(created)
    assert shell(daemon, created, "cat /proc/self/uid_map").split()[1] == "200000"
    later = run_container(daemon, pod, name="later")
    assert os.readlink(f"/proc/{info_of(daemon, later)['pid']}/ns/user") == os.readlink(
        f"/proc/{info_of(daemon, container)['pid']}/ns/user"
    )
    daemon.stop_pod(pod)
    daemon.remove_pod(pod)
    assert daemon.leftovers() == []


def test_a_handler_whose_containers_are_no_plain_processes_has_none(tmp_path: Path) -> None:
    runtime = tmp_path / "vm-runtime"
    runtime.write_text("#!/bin/sh\necho crun version 1.8.1\n")
    runtime.chmod(0o755)
    daemon = Daemon(tmp_path, runtime="crun", config=f'[runtime.handlers.vm]\npath = "{runtime}"\n')
    daemon.start()
    try:
        features = {h.name: h.features for h in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
        assert not features["vm"].user_namespaces
        config = pod_config("pod", tmp_path / "logs")
        config.linux.security_context.namespace_options.CopyFrom(userns_options())
        with pytest.raises(grpc.RpcError) as refused:
            daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config, runtime_handler="vm"))
        assert code_of(refused) == grpc.StatusCode.FAILED_PRECONDITION
        assert "'vm'" in details_of(refused)
        assert daemon.pods() == []
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


def test_a_run_directory_that_nobody_passes_is_told(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, runtime="crun")
    daemon.start()
    try:
        tmp_path.chmod(0o700)
        daemon.restart()
        features = {h.name: h.features for h in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
        assert not features[""].user_namespaces
        with pytest.raises(grpc.RpcError) as refused:
            run_pod(daemon)
        assert code_of(refused) == grpc.StatusCode.FAILED_PRECONDITION
        assert "chmod" in details_of(refused)
    finally:
        daemon.remove_everything()


def test_users_of_its_own_on_the_hosts_network(daemon: Daemon) -> None:
    assert daemon.runtime.Status(pb.StatusRequest()).features.user_namespaces_host_network
    options = userns_options()
    options.network = pb.NODE
    pod = run_pod(daemon, options=options, host_network=True)
    container = run_container(daemon, pod, context=pb.LinuxContainerSecurityContext(namespace_options=options))
    assert shell(daemon, container, "readlink /proc/self/ns/net") == os.readlink("/proc/self/ns/net")
    assert shell(daemon, container, "cat /proc/self/uid_map").split()[1] == str(FIRST)
    mounts = [line.split() for line in shell(daemon, container, "cat /proc/self/mountinfo").splitlines()]
    sysfs = [fields for fields in mounts if fields[4] == "/sys" or fields[4].startswith("/sys/")]
    cgroups = next(fields[0] for fields in reversed(sysfs) if fields[4] == "/sys/fs/cgroup")
    hosts = [fields for fields in sysfs if cgroups not in fields[:2]]
    assert all("ro" in fields[5].split(",") for fields in hosts), "the host's, with all that is mounted in it"
