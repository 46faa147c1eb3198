"""Pods through the socket: their life, their files, their network, and what lists show."""

from __future__ import annotations

import socket
import subprocess  # noqa: TID251 - tests take things away behind the daemon's back
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import WITH_SHIM, Daemon, container_config, pod_config

pytestmark = pytest.mark.root


def code_of(error: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    code = error.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


def details_of(error: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    return str(error.value.details())


def test_the_life_of_a_pod(daemon: Daemon) -> None:
    pod = daemon.run_pod("web", labels={"app": "web"}, annotations={"a/b": "ü\n"})
    status = daemon.pod_status(pod)
    assert status.state == pb.SANDBOX_READY
    assert (status.metadata.name, status.metadata.namespace, status.metadata.uid) == ("web", "test", "uid-web")
    assert dict(status.labels) == {"app": "web"}
    assert dict(status.annotations) == {"a/b": "ü\n"}
    assert status.created_at > 0
    socket.inet_aton(status.network.ip)
    assert status.linux.namespaces.options.pid == pb.CONTAINER
    assert Path(daemon.directory / "logs" / "web").is_dir()
    daemon.stop_pod(pod)
    daemon.stop_pod(pod)
    stopped = daemon.pod_status(pod)
    assert stopped.state == pb.SANDBOX_NOTREADY
    assert stopped.network.ip == status.network.ip, "the last address stays visible"
    daemon.remove_pod(pod)
    daemon.remove_pod(pod)
    with pytest.raises(grpc.RpcError) as gone:
        daemon.pod_status(pod)
    assert code_of(gone) == grpc.StatusCode.NOT_FOUND
    assert daemon.leftovers() == []


def test_remove_takes_running_containers_along(daemon: Daemon) -> None:
    pod = daemon.run_pod()
    daemon.run_container(pod, "sleep", "1000")
    daemon.create(pod, container_config("second", "sleep", "1000"))
    daemon.remove_pod(pod)
    assert daemon.containers() == []
    assert daemon.leftovers() == []


def test_files_of_the_pod(crun_daemon: Daemon) -> None:
    dns = pb.DNSConfig(servers=["10.0.0.10", "fd00::1"], searches=["a.local", "b.local"], options=["ndots:5"])
    pod = crun_daemon.run_pod("named", dns=dns, hostname="my-host")
    container = crun_daemon.run_container(pod, "sleep", "1000")
    resolv = crun_daemon.exec(container, "cat", "/etc/resolv.conf").stdout.decode()
    assert resolv == "search a.local b.local\nnameserver 10.0.0.10\nnameserver fd00::1\noptions ndots:5\n"
    assert crun_daemon.exec(container, "hostname").stdout == b"my-host\n"
    assert crun_daemon.exec(container, "cat", "/etc/hostname").stdout == b"my-host\n"
    ip = crun_daemon.pod_status(pod).network.ip
    assert f"{ip}\tmy-host\n" in crun_daemon.exec(container, "cat", "/etc/hosts").stdout.decode()
    assert b"shm /dev/shm tmpfs" in crun_daemon.exec(container, "grep", "/dev/shm", "/proc/mounts").stdout


def test_shared_memory_is_the_pods(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod()
    first = crun_daemon.run_container(pod, "sleep", "1000", name="first")
    second = crun_daemon.run_container(pod, "sleep", "1000", name="second")
    crun_daemon.exec(first, "sh", "-c", "echo hello > /dev/shm/x")
    assert crun_daemon.exec(second, "cat", "/dev/shm/x").stdout == b"hello\n"


def test_pod_network_reaches_from_the_host_and_by_host_port(crun_daemon: Daemon) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mappings = [
        pb.PortMapping(protocol=pb.TCP, container_port=8080, host_port=port),
        pb.PortMapping(protocol=pb.TCP, container_port=9999),
    ]
    pod = crun_daemon.run_pod(port_mappings=mappings)
    crun_daemon.run_container(pod, "sh", "-c", "echo page > /www/index.html; exec httpd -f -p 8080 -h /www")
    ip = crun_daemon.pod_status(pod).network.ip
    assert fetch(f"http://{ip}:8080/") == b"page\n"
    assert fetch(f"http://127.0.0.1:{port}/") == b"page\n"


def fetch(url: str) -> bytes:
    deadline = time.monotonic() + 5
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bytes(response.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # noqa: TID251 - no event loop here


def test_host_network(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    status = crun_daemon.pod_status(pod)
    assert (status.network.ip, status.linux.namespaces.options.network) == ("", pb.NODE)
    container = crun_daemon.run_container(pod, "sleep", "1000")
    assert crun_daemon.exec(container, "hostname").stdout.decode().strip() == socket.gethostname()


@WITH_SHIM
def test_processes_of_a_shared_pid_namespace_see_each_other(daemon: Daemon) -> None:
    pod = daemon.run_pod(pid=pb.POD)
    shared = pb.LinuxContainerSecurityContext(namespace_options=pb.NamespaceOption(pid=pb.POD))
    first = daemon.run_container(pod, "sleep", "1234", name="first", security=shared)
    second = daemon.run_container(pod, "sleep", "1000", name="second", security=shared)
    processes = daemon.exec(second, "ps").stdout
    assert b"/pause -P" in processes
    assert b"sleep 1234" in processes
    daemon.stop_container(first)
    assert daemon.status(second).state == pb.CONTAINER_RUNNING


def test_a_pod_whose_network_namespace_is_lost(crun_daemon: Daemon) -> None:
    """Its address is given back all the same; nothing stays."""
    pod = crun_daemon.run_pod()
    netns = crun_daemon.run / "sandboxes" / pod / "netns"
    subprocess.run(["umount", "--lazy", netns], check=True)
    netns.unlink()
    crun_daemon.stop_pod(pod)
    crun_daemon.remove_pod(pod)
    assert crun_daemon.leftovers() == []


def test_filters(crun_daemon: Daemon) -> None:
    def listed(**conditions: object) -> set[str]:
        wanted = pb.PodSandboxFilter(**conditions)  # type: ignore[arg-type]
        return {
            item.metadata.name
            for item in crun_daemon.runtime.ListPodSandbox(pb.ListPodSandboxRequest(filter=wanted)).items
        }

    first = crun_daemon.run_pod("first", host_network=True, labels={"app": "a", "tier": "x"})
    second = crun_daemon.run_pod("second", host_network=True, labels={"app": "b", "tier": "x"})
    crun_daemon.stop_pod(second)
    assert listed() == {"first", "second"}
    assert listed(id=first) == {"first"}
    assert listed(id=first[:20]) == {"first"}
    assert listed(label_selector={"tier": "x"}) == {"first", "second"}
    assert listed(label_selector={"tier": "x", "app": "b"}) == {"second"}
    assert listed(label_selector={"app": "c"}) == set()
    assert listed(state=pb.PodSandboxStateValue(state=pb.SANDBOX_READY)) == {"first"}
    assert listed(state=pb.PodSandboxStateValue(state=pb.SANDBOX_NOTREADY), label_selector={"app": "a"}) == set()
    assert listed(id="no such id") == set()


def test_ids_may_be_unique_prefixes_and_ambiguous_ones_are_refused(crun_daemon: Daemon) -> None:
    pods = [crun_daemon.run_pod(f"p{number}", host_network=True) for number in range(17)]
    assert crun_daemon.pod_status(pods[3][:24]).metadata.name == "p3"
    first_digits = [pod[0] for pod in pods]
    shared = next(digit for digit in first_digits if first_digits.count(digit) > 1)
    with pytest.raises(grpc.RpcError) as ambiguous:
        crun_daemon.pod_status(shared)
    assert code_of(ambiguous) == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError):
        crun_daemon.stop_pod(shared)
    assert len([pod for pod in crun_daemon.pods() if pod.state == pb.SANDBOX_READY]) == 17


def test_a_retried_run_joins_the_one_in_flight(crun_daemon: Daemon) -> None:
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(crun_daemon.run_pod("same"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 5
    assert len(set(ids)) == 1, "one pod, whoever asks"
    assert crun_daemon.run_pod("same") == ids[0], "and a later retry finds it"
    assert len(crun_daemon.pods()) == 1


def test_a_run_whose_caller_gave_up_converges(crun_daemon: Daemon) -> None:
    config = pod_config("slow", crun_daemon.directory / "logs")
    with pytest.raises(grpc.RpcError) as late:
        crun_daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config), timeout=0.003)
    assert code_of(late) == grpc.StatusCode.DEADLINE_EXCEEDED
    pod = crun_daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id
    assert [item.id for item in crun_daemon.pods()] == [pod]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": None}, "config.metadata"),
        ({"name": ""}, "config.metadata.name"),
        ({"hostname": "h" * 65}, "config.hostname"),
        ({"sysctls": {"kernel.core_pattern": "|/evil"}}, "kernel.core_pattern"),
        ({"sysctls": {"kernel.shm_rmid_forced": "1+kernel.core_pattern=x"}}, "value"),
        ({"handler": "no-such-handler"}, "no-such-handler"),
        ({"port": 70000}, "config.port_mappings[0].host_port"),
    ],
)
def test_bad_requests_name_the_field_and_leave_nothing(
    crun_daemon: Daemon, change: dict[str, object], field: str
) -> None:
    config = pod_config("bad", crun_daemon.directory / "logs", sysctls=change.get("sysctls"))  # type: ignore[arg-type]
    if "metadata" in change:
        config.ClearField("metadata")
    if "name" in change:
        config.metadata.name = ""
    if "hostname" in change:
        config.hostname = str(change["hostname"])
    if "port" in change:
        config.port_mappings.append(pb.PortMapping(container_port=80, host_port=70000))
    request = pb.RunPodSandboxRequest(config=config, runtime_handler=str(change.get("handler", "")))
    with pytest.raises(grpc.RpcError) as refused:
        crun_daemon.runtime.RunPodSandbox(request)
    assert code_of(refused) == grpc.StatusCode.INVALID_ARGUMENT
    assert field in details_of(refused)
    assert crun_daemon.pods() == []
    assert crun_daemon.leftovers() == []


def test_a_missing_cni_plugin_is_one_clear_error(crun_daemon: Daemon) -> None:
    conflist = crun_daemon.cni_dir / "10-test.conflist"
    conflist.write_text(conflist.read_text().replace('"portmap"', '"no-such-plugin"'))
    with pytest.raises(grpc.RpcError) as failed:
        crun_daemon.run_pod()
    assert "no-such-plugin" in details_of(failed)
    assert "/usr/lib/cni" in details_of(failed)
    assert crun_daemon.pods() == []
    assert crun_daemon.leftovers() == []
    # Mended, and read again without a restart.
    conflist.write_text(conflist.read_text().replace('"no-such-plugin"', '"portmap"'))
    crun_daemon.run_pod()


def test_without_the_network_host_network_pods_still_run(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, cni=False, config='[network]\ndefault_network = "none"\n')
    daemon.start()
    try:
        conditions = {c.type: c for c in daemon.runtime.Status(pb.StatusRequest()).status.conditions}
        assert conditions["RuntimeReady"].status
        assert not conditions["NetworkReady"].status
        assert str(daemon.cni_dir) in conditions["NetworkReady"].message
        daemon.run_pod("host", host_network=True)
        with pytest.raises(grpc.RpcError):
            daemon.run_pod("pod")
        daemon.write_cni()
        daemon.run_pod("pod")
        conditions = {c.type: c for c in daemon.runtime.Status(pb.StatusRequest()).status.conditions}
        assert conditions["NetworkReady"].status
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []
