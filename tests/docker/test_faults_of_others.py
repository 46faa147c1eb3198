"""What the Docker shims before this one are known for, each shown not to be so here.

Images are in test_images.py, logs in test_logs.py. The list: docs/docker.md.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import container_config, pod_config
from tests.support.docker_daemon import DockerDaemon
from tests.support.limits import limits_of
from tests.system.test_pods import code_of, details_of

pytestmark = pytest.mark.root


def pid_of(daemon: DockerDaemon, container: str) -> int:
    answer = daemon.runtime.ContainerStatus(pb.ContainerStatusRequest(container_id=container, verbose=True))
    return int(json.loads(answer.info["info"])["pid"])


def test_names_and_annotations_are_not_read_back(daemon: DockerDaemon) -> None:
    """Metadata is the record's, whatever is in it; Docker's names are for people."""
    config = pod_config("a_b__c", daemon.directory / "logs", annotations={"x/y": "z=1\n\u2028"})
    config.metadata.namespace = "n_s"
    pod = daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id
    container = daemon.create(pod, container_config("c_d", "sleep", "1", annotations={"k": "v" * 5000}))
    found = daemon.runtime.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=pod)).status
    assert (found.metadata, dict(found.annotations)) == (config.metadata, dict(config.annotations))
    assert dict(daemon.status(container).annotations) == {"k": "v" * 5000}
    assert daemon.in_engine(pod)["Name"].startswith("/podwright_POD_a_b__c_n_s_")


def test_the_pods_network_is_left_while_it_is_there(daemon: DockerDaemon) -> None:
    """The sandbox container dies: the network's namespace stays until the plugin has taken the pod out of it."""
    pod = daemon.run_pod(port_mappings=[pb.PortMapping(protocol=pb.TCP, container_port=80, host_port=0)])
    container = daemon.run_container(pod, "sleep", "1000")
    address = daemon.pod_status(pod).network.ip
    daemon.docker.request("POST", f"/containers/{daemon.in_engine(pod)['Id']}/kill", signal="KILL")
    daemon.wait_until(lambda: daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY)
    assert (daemon.run / "sandboxes" / pod / "netns").is_mount() or (daemon.run / "sandboxes" / pod / "netns").exists()
    assert daemon.exec(container, "cat", "/proc/net/fib_trie").stdout.decode().count(address)
    with pytest.raises(grpc.RpcError) as refused:
        daemon.create(pod, container_config("late", "sleep", "1"))
    assert code_of(refused) == grpc.StatusCode.FAILED_PRECONDITION
    daemon.remove_pod(pod)
    assert daemon.leftovers() == []


def test_dns_is_right_from_the_first_instant(daemon: DockerDaemon) -> None:
    dns = pb.DNSConfig(servers=["192.0.2.1"], searches=["a.test"], options=["ndots:3"])
    pod = daemon.run_pod("dns", dns=dns)  # with a log that no other test has written to
    container = daemon.run_container(pod, "sh", "-c", "cat /etc/resolv.conf; cat /etc/hosts")
    log = Path(daemon.wait_exit(container).log_path).read_text()
    assert [line.split(" F ")[1] for line in log.splitlines()[:3]] == [
        "search a.test", "nameserver 192.0.2.1", "options ndots:3",
    ]  # fmt: skip


def test_an_exec_that_times_out_is_gone(daemon: DockerDaemon) -> None:
    """With all that it started, while the container runs on."""
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")
    request = pb.ExecSyncRequest(container_id=container, cmd=["sh", "-c", "sleep 4711 & sleep 4712; true"], timeout=1)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as timed_out:
        daemon.runtime.ExecSync(request)
    assert code_of(timed_out) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 20
    assert b"471" not in daemon.exec(container, "ps").stdout
    assert daemon.status(container).state == pb.CONTAINER_RUNNING


def test_an_exec_whose_caller_goes_while_it_begins_is_gone(daemon: DockerDaemon) -> None:
    """At whatever moment: before Docker has been asked, before it has told the pid, and after."""
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")
    for pause_s in (0.0, 0.02, 0.04, 0.06, 0.08, 0.1):
        running = daemon.runtime.ExecSync.future(
            pb.ExecSyncRequest(container_id=container, cmd=["sleep", "4713"], timeout=100)
        )
        time.sleep(pause_s)  # noqa: TID251 - no event loop here
        running.cancel()
    time.sleep(0.5)  # noqa: TID251 - what was asked of Docker shall have begun
    daemon.wait_until(lambda: b"4713" not in daemon.exec(container, "ps").stdout)


def test_an_exec_that_was_under_way_when_we_died_is_gone(own_daemon: DockerDaemon) -> None:
    container = own_daemon.run_container(own_daemon.run_pod(host_network=True), "sleep", "1000")
    request = pb.ExecSyncRequest(container_id=container, cmd=["sleep", "4711"], timeout=100)
    running = own_daemon.runtime.ExecSync.future(request)
    engine_id = own_daemon.in_engine(container)["Id"]
    foreign = own_daemon.docker.request("POST", f"/containers/{engine_id}/exec", {"Cmd": ["sleep", "4712"]})[1]["Id"]
    own_daemon.docker.request("POST", f"/exec/{foreign}/start", {"Detach": True})
    own_daemon.wait_until(lambda: b"4711" in own_daemon.exec(container, "ps").stdout)
    own_daemon.kill()
    assert running.exception() is not None
    own_daemon.start()
    listed = own_daemon.exec(container, "ps").stdout
    assert b"sleep 4711" not in listed
    assert b"sleep 4712" in listed, "somebody else's exec is none of our business"


def test_unknown_ids_are_not_found_or_gone(daemon: DockerDaemon) -> None:
    unknown = "f" * 64
    with pytest.raises(grpc.RpcError) as refused:
        daemon.status(unknown)
    assert code_of(refused) == grpc.StatusCode.NOT_FOUND
    daemon.stop_container(unknown)
    daemon.remove_container(unknown)
    daemon.stop_pod(unknown)
    daemon.remove_pod(unknown)


def test_memory_and_swap_are_changed_apart(daemon: DockerDaemon) -> None:
    """Before the start as well as after it."""
    given = pb.LinuxContainerResources(memory_limit_in_bytes=64 << 20, memory_swap_limit_in_bytes=96 << 20)
    pod = daemon.run_pod(host_network=True)
    container = daemon.create(pod, container_config("main", "sleep", "1000", resources=given))
    more = pb.LinuxContainerResources(memory_limit_in_bytes=80 << 20)
    daemon.runtime.UpdateContainerResources(pb.UpdateContainerResourcesRequest(container_id=container, linux=more))
    host = daemon.in_engine(container)["HostConfig"]
    assert host["Memory"] == 80 << 20
    assert host["MemorySwap"] in (112 << 20, -1), "as much swap as before; -1 where the kernel counts none"
    daemon.start_container(container)
    assert limits_of(pid_of(daemon, container)).memory == 80 << 20
    less = pb.LinuxContainerResources(memory_limit_in_bytes=70 << 20, cpu_quota=20000, cpu_period=100000)
    daemon.runtime.UpdateContainerResources(pb.UpdateContainerResourcesRequest(container_id=container, linux=less))
    limits = limits_of(pid_of(daemon, container))
    assert (limits.memory, limits.quota) == (70 << 20, 20000)


def test_a_command_that_is_not_there(daemon: DockerDaemon) -> None:
    """The start fails in the runtime's words, and the status says so."""
    pod = daemon.run_pod(host_network=True)
    container = daemon.create(pod, container_config("main", "/nowhere"))
    with pytest.raises(grpc.RpcError) as refused:
        daemon.start_container(container)
    assert "/nowhere" in details_of(refused)
    status = daemon.status(container)
    assert (status.state, status.reason, status.exit_code) == (pb.CONTAINER_EXITED, "StartError", 128)
    assert status.finished_at >= status.created_at


def test_handlers_are_dockers_runtimes(daemon: DockerDaemon) -> None:
    handlers = {h.name for h in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
    assert {"", "runc", "crun"} <= handlers
    for number, handler in enumerate(("runc", "crun", "docker", "")):
        pod = daemon.run_pod(f"pod{number}", handler)
        container = daemon.run_container(pod, "sleep", "1000")
        assert daemon.in_engine(container)["HostConfig"]["Runtime"] == (
            handler if handler in ("runc", "crun") else "runc"
        )
        assert daemon.exec(container, "echo", "hi").stdout == b"hi\n"
    with pytest.raises(grpc.RpcError) as refused:
        daemon.run_pod("other", "no-such")
    assert code_of(refused) == grpc.StatusCode.INVALID_ARGUMENT
    assert "runtime_handler" in details_of(refused)


def test_gvisor_is_one_of_dockers_runtimes(daemon: DockerDaemon) -> None:
    """A kernel of its own, the pod's address, logs, exec, and an end."""
    pod = daemon.run_pod(handler="runsc")
    container = daemon.run_container(pod, "sh", "-c", "dmesg | head -1; sleep 1000")
    daemon.wait_log(container, "Starting gVisor")
    assert daemon.in_engine(container)["HostConfig"]["Runtime"] == "runsc"
    said = daemon.exec(container, "sh", "-c", "ip addr show eth0; exit 3")
    assert f"inet {daemon.pod_status(pod).network.ip}/" in said.stdout.decode()
    assert said.exit_code == 3
    daemon.stop_container(container)
    assert daemon.status(container).exit_code == 137


def test_what_docker_cant_do_is_refused_by_its_field(daemon: DockerDaemon) -> None:
    pod = daemon.run_pod(host_network=True)
    ambient = pb.LinuxContainerSecurityContext()
    ambient.capabilities.add_ambient_capabilities.append("NET_RAW")
    plain = str(daemon.directory)
    owners = [pb.IDMapping(host_id=1, container_id=0, length=1)]
    for field, config in (
        ("mounts[0].mount_options", container_config(
            "m", "true", mounts=[pb.Mount(container_path="/i", host_path=plain, mount_options=["noexec"])])),
        ("mounts[0].uidMappings", container_config(
            "m", "true", mounts=[pb.Mount(container_path="/i", host_path=plain, uidMappings=owners, gidMappings=owners)]
        )),
        ("linux.resources.unified", container_config(
            "m", "true", resources=pb.LinuxContainerResources(unified={"memory.high": "1"}))),
        ("add_ambient_capabilities", container_config("m", "true", security=ambient)),
    ):  # fmt: skip
        with pytest.raises(grpc.RpcError) as refused:
            daemon.create(pod, config)
        assert (code_of(refused), field in details_of(refused)) == (grpc.StatusCode.INVALID_ARGUMENT, True), field
    assert daemon.containers() == []
    with pytest.raises(grpc.RpcError) as refused:
        daemon.runtime.CheckpointContainer(
            pb.CheckpointContainerRequest(container_id="x", location="/tmp/x", timeout=1)
        )
    assert code_of(refused) in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)
