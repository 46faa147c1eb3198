"""A handler is configuration: what each of its settings does to real pods, in a daemon that has several."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux import links
from tests.support import names
from tests.support.daemon import Daemon, container_config, serving
from tests.support.images import refusal
from tests.support.limits import limits_of

pytestmark = pytest.mark.root

MIB = 1 << 20
# In Docker's form, whose conditions are resolved; allows all but one call.
PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64"}, {"architecture": "SCMP_ARCH_AARCH64"}],
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
}
CONFIGURATION = """
[runtime.handlers.{runtime}-own]
path = "{runtime}"
root = "{directory}/state"
allowed_annotations = ["run.oci."]
seccomp_profile = "{directory}/profile.json"
cni_conf_dir = "{directory}/other-cni"
wants_sandbox_container = true
overhead_memory_bytes = {overhead}
overhead_cpu_millicores = 100
"""


def configured(directory: Path, runtime: str) -> Daemon:
    (directory / "profile.json").write_text(json.dumps(PROFILE))
    text = CONFIGURATION.format(runtime=runtime, directory=directory, overhead=16 * MIB)
    return Daemon(directory, runtime=runtime, config=text)


@pytest.fixture(scope="module", params=["crun", "runc"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(configured(tmp_path_factory.mktemp("d"), request.param)) as server:
        yield server


@pytest.fixture
def daemon(shared: Daemon) -> Iterator[Daemon]:
    yield shared
    shared.clear_pods()


@contextmanager
def other_network(daemon: Daemon) -> Iterator[str]:
    """A network for that handler's pods alone; how its addresses begin."""
    directory, bridge, subnet = daemon.directory / "other-cni", names.link(), names.subnet()
    ipam = {"type": "host-local", "dataDir": str(daemon.ipam), "ranges": [[{"subnet": subnet}]]}
    plugin = {"type": "bridge", "bridge": bridge, "isGateway": True, "ipam": ipam}
    network = {"cniVersion": "1.0.0", "name": names.network(), "plugins": [plugin]}
    directory.mkdir()
    (directory / "10.conflist").write_text(json.dumps(network))
    try:
        yield subnet.removesuffix("0/24")
    finally:
        daemon.clear_pods()
        links.delete_bridge(bridge)
        shutil.rmtree(directory)


def own(daemon: Daemon) -> str:
    """The handler with all the settings."""
    return f"{daemon.handler}-own"


def mkdir_errno(daemon: Daemon, pod: str, profile: int | None) -> str:
    """What a container with this seccomp profile says when it makes a directory; '' where it can."""
    security = pb.LinuxContainerSecurityContext()
    if profile is not None:
        security.seccomp.profile_type = profile  # type: ignore[assignment]
    name = names.unique("c")
    container = daemon.run_container(pod, "sh", "-c", "mkdir /d; echo done", name=name, security=security)
    text = daemon.wait_log(container, "done").read_text()
    return text.partition("stderr F ")[2].partition("\n")[0]


def test_its_seccomp_profile(daemon: Daemon) -> None:
    """Is what RuntimeDefault means, for its own containers only."""
    default = pb.SecurityProfile.RuntimeDefault
    pod = daemon.run_pod(handler=own(daemon), host_network=True)
    assert "not supported" in mkdir_errno(daemon, pod, default)
    assert mkdir_errno(daemon, pod, pb.SecurityProfile.Unconfined) == ""
    assert mkdir_errno(daemon, pod, None) == ""
    assert mkdir_errno(daemon, daemon.run_pod("plain", host_network=True), default) == ""


def test_its_network_is_not_there(daemon: Daemon) -> None:
    code, words = refusal(lambda: daemon.run_pod(handler=own(daemon)))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert f"no CNI configuration in {daemon.directory}/other-cni" in words
    assert "cni_conf_dir" in words


def test_its_network(tmp_path: Path) -> None:
    """Is its own, and nobody else's; leaving works after the setting has gone."""
    with serving(configured(tmp_path, "crun")) as daemon, other_network(daemon) as start:
        pod, plain = daemon.run_pod(handler=own(daemon)), daemon.run_pod("plain")
        assert daemon.pod_status(pod).network.ip.startswith(start)
        assert not daemon.pod_status(plain).network.ip.startswith(start)
        daemon.stop()
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(f'cni_conf_dir = "{daemon.directory}/other-cni"\n', ""))
        daemon.start()
        assert daemon.pod_status(pod).network.ip.startswith(start)


def test_its_overhead(daemon: Daemon) -> None:
    """Sizes the pod's cgroup where that is ours, is told to the runtime, and gives way to what the client says."""
    pod = run_sized(daemon, pb.LinuxContainerResources())
    assert pod_memory_limit(daemon, pod) == (64 + 16) * MIB
    annotations = sandbox_annotations(daemon, pod)
    assert annotations["io.kubernetes.cri.sandbox-memory"] == str(64 * MIB)
    assert annotations["io.kubernetes.cri.sandbox-cpu-quota"] == "50000"
    assert json.loads(annotations["io.kubernetes.cri-o.PodLinuxResources"]) == {
        "cpu_quota": 50000, "cpu_period": 100000, "memory_limit_in_bytes": 64 * MIB,
    }  # fmt: skip
    assert json.loads(annotations["io.kubernetes.cri-o.PodLinuxOverhead"]) == {
        "cpu_shares": 102, "cpu_quota": 10000, "cpu_period": 100000, "memory_limit_in_bytes": 16 * MIB,
    }  # fmt: skip
    resize(daemon, pod, resources=pb.LinuxContainerResources(memory_limit_in_bytes=128 * MIB))
    assert pod_memory_limit(daemon, pod) == (128 + 16) * MIB
    resize(daemon, pod, overhead=pb.LinuxContainerResources(memory_limit_in_bytes=MIB))
    assert pod_memory_limit(daemon, pod) == 129 * MIB
    resize(daemon, pod, resources=pb.LinuxContainerResources(cpu_shares=512))
    assert pod_memory_limit(daemon, pod) is None, "no limit"
    daemon.remove_pod(pod)
    told = run_sized(daemon, pb.LinuxContainerResources(memory_limit_in_bytes=32 * MIB))
    assert pod_memory_limit(daemon, told) == 96 * MIB


def run_sized(daemon: Daemon, overhead: pb.LinuxContainerResources) -> str:
    size = pb.LinuxContainerResources(memory_limit_in_bytes=64 * MIB, cpu_quota=50000, cpu_period=100000)
    return daemon.run_pod(handler=own(daemon), host_network=True, resources=size, overhead=overhead)


def pod_memory_limit(daemon: Daemon, pod: str) -> int | None:
    """Of the pod's cgroup, found above that of its sandbox container."""
    state = next((daemon.directory / "state" / pod).glob("stat*")).read_bytes()
    found = json.loads(state)
    return limits_of(found.get("pid") or found["init_process_pid"], above=True).memory


def resize(daemon: Daemon, pod: str, **given: pb.LinuxContainerResources) -> None:
    daemon.runtime.UpdatePodSandboxResources(pb.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod, **given))


def sandbox_annotations(daemon: Daemon, pod: str) -> dict[str, str]:
    """Those that the runtime has got."""
    bundle = daemon.run / "sandboxes" / pod / pod
    annotations: dict[str, str] = json.loads((bundle / "config.json").read_bytes())["annotations"]
    return annotations


def test_its_root_annotations_and_sandbox_container(daemon: Daemon) -> None:
    pod = daemon.run_pod(handler=own(daemon), host_network=True)
    assert (daemon.directory / "state" / pod).is_dir(), "the sandbox container's state"
    given = {"run.oci.mount_context_type": "context", "org.systemd.property.X": "1"}
    container = daemon.create(pod, container_config("main", "sleep", "1000", annotations=given))
    config = json.loads((daemon.run / "containers" / container / "config.json").read_bytes())
    assert "run.oci.mount_context_type" in config["annotations"]
    assert "org.systemd.property.X" not in config["annotations"]
    assert (daemon.directory / "state" / container).is_dir()
    daemon.remove_pod(pod)
    assert list((daemon.directory / "state").iterdir()) == []


def test_a_profile_that_is_none(tmp_path: Path) -> None:
    """The daemon doesn't start, and says which it is."""
    (tmp_path / "bad.json").write_text('{"defaultAction": "SCMP_ACT_MAYBE"}')
    settings = f'[runtime.handlers.x]\npath = "runc"\nseccomp_profile = "{tmp_path}/bad.json"\n'
    message = r"runtime.handlers.x.seccomp_profile: .*/bad.json has an unknown action 'SCMP_ACT_MAYBE'"
    with pytest.raises(AssertionError, match=message):
        Daemon(tmp_path, runtime="crun", config=settings).start()
