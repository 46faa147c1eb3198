"""A real daemon on roots of its own, and short words for talking CRI to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - tests start the daemon as a person would
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from examples.make_hello_image import image as hello_image

from podwright.criapi import api_pb2 as pb
from podwright.criapi import api_pb2_grpc, podwright_pb2, podwright_pb2_grpc
from podwright.network.default_bridge import bridge_name
from podwright.network.host_ports import table_name
from tests.support import names

# For tests of the `daemon` fixture that are asked of containerd's shim, too.
WITH_SHIM = pytest.mark.parametrize("daemon_runtime", ["crun", "runc", "shim"])
HELLO = "localhost/podwright/hello:latest"
START_TIMEOUT_S = 120.0  # an emulated processor takes 20 s


class Daemon:
    """`podwright serve` in a directory. `start` again after `stop` or `kill` for a restart on the same state."""

    def __init__(
        self, directory: Path, *, runtime: str = "", config: str = "", cni: bool = True, cgroup_driver: str = "cgroupfs"
    ) -> None:
        self.directory = directory
        self.root, self.run, self.cni_dir = directory / "root", directory / "run", directory / "cni"
        self.socket = self.run / "s.sock"
        names.MADE |= {table_name(self.run), bridge_name(self.run), bridge_name(self.run).replace("-", "_")}
        self.ipam = directory / "ipam"
        self.cgroup_parent = names.cgroup()
        self.bridge = names.link()
        self.log = directory / "daemon.log"
        self.extra_environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: grpc.Channel | None = None
        self.cni_dir.mkdir()
        if cni:
            self.write_cni()
        self.handler = runtime
        self.nri = f'\n[nri]\nsocket = "{directory}/nri.sock"\nplugin_dir = "{directory}/plugins"\n'
        self.config = directory / "config.toml"
        self.config.write_text(
            f'[runtime]\ndefault = "{runtime}"\n[cgroup]\ndriver = "{cgroup_driver}"\n'
            f'default_parent = "{self.cgroup_parent}"\n{config}{self.nri if "[nri]" not in config else ""}'
        )

    def write_cni(self) -> None:
        """A bridge network whose name, subnet and leases are this test's alone."""
        conflist = {
            "cniVersion": "1.0.0",
            "name": names.network(),
            "plugins": [
                {
                    "type": "bridge", "bridge": self.bridge, "isGateway": True, "ipMasq": True, "hairpinMode": True,
                    "ipam": {
                        "type": "host-local", "dataDir": str(self.ipam), "ranges": [[{"subnet": names.subnet()}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }  # fmt: skip
        (self.cni_dir / "10-test.conflist").write_text(json.dumps(conflist))

    def start(self, *, wait: bool = True, command: Sequence[str] = ()) -> None:
        argv = [
            *(command or [sys.executable, "-m", "podwright"]), "serve", "--config", str(self.config),
            "--root", str(self.root), "--run", str(self.run), "--socket", str(self.socket),
            "--cni-conf-dir", str(self.cni_dir), "--log-level", "debug",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.extra_environment}
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log_tail()}")
            if self.socket.exists():
                self.connect()
                try:
                    self.runtime.Version(pb.VersionRequest(), timeout=2)
                    return
                except grpc.RpcError:
                    self.disconnect()
            if time.monotonic() > deadline:
                raise AssertionError(f"the daemon does not answer:\n{self.log_tail()}")
            time.sleep(0.02)  # noqa: TID251 - no event loop here

    def connect(self) -> None:
        self.channel = grpc.insecure_channel(
            f"unix://{self.socket}", options=[("grpc.max_receive_message_length", 64 << 20)]
        )
        self.runtime: Any = api_pb2_grpc.RuntimeServiceStub(self.channel)
        self.images: Any = api_pb2_grpc.ImageServiceStub(self.channel)
        self.podwright: Any = podwright_pb2_grpc.PodwrightStub(self.channel)

    def disconnect(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def stop(self) -> int:
        """SIGTERM, and its exit status. Containers run on."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9: what a crash is."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        self.disconnect()
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def restart(self) -> None:
        self.stop()
        self.start()

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]

    def load_hello(self) -> str:
        """The busybox image, without a registry; gives its id."""
        archive = self.directory / "hello.tar"
        if not archive.exists():
            archive.write_bytes(hello_image(HELLO))
        return str(self.podwright.LoadImage(podwright_pb2.LoadImageRequest(path=str(archive))).ids[0])

    def runtime_command(self) -> list[str]:
        """The OCI runtime as the daemon calls it, up to the verb."""
        return [self.handler, "--root", str(self.run / "runtime" / self.handler)]

    def run_pod(self, name: str = "pod", handler: str = "", **options: Any) -> str:
        config = pod_config(name, self.directory / "logs" / name, **options)
        return str(
            self.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config, runtime_handler=handler)).pod_sandbox_id
        )

    def create(self, pod: str, config: pb.ContainerConfig) -> str:
        request = pb.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=pb.PodSandboxConfig())
        return str(self.runtime.CreateContainer(request).container_id)

    def start_container(self, container: str) -> None:
        self.runtime.StartContainer(pb.StartContainerRequest(container_id=container))

    def run_container(self, pod: str, *command: str, name: str = "main", **options: Any) -> str:
        """Create and start."""
        container = self.create(pod, container_config(name, *command, **options))
        self.start_container(container)
        return container

    def status(self, container: str) -> pb.ContainerStatus:
        status = self.runtime.ContainerStatus(pb.ContainerStatusRequest(container_id=container)).status
        assert isinstance(status, pb.ContainerStatus)
        return status

    def pod_status(self, pod: str) -> pb.PodSandboxStatus:
        status = self.runtime.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=pod)).status
        assert isinstance(status, pb.PodSandboxStatus)
        return status

    def wait_exit(self, container: str, timeout_s: float = 15) -> pb.ContainerStatus:
        deadline = time.monotonic() + timeout_s
        while (status := self.status(container)).state != pb.CONTAINER_EXITED:
            assert time.monotonic() < deadline, f"still {status.state}:\n{self.log_tail()}"
            time.sleep(0.02)  # noqa: TID251 - no event loop here
        return status

    def wait_log(self, container: str, words: str, timeout_s: float = 15) -> Path:
        """Wait until the container's log holds `words`; the log's path."""
        log, deadline = Path(self.status(container).log_path), time.monotonic() + timeout_s
        while words not in log.read_text():
            assert time.monotonic() < deadline, f"no {words!r} in {log.read_text()[-2000:]!r}"
            time.sleep(0.01)  # noqa: TID251 - no event loop here
        return log

    def wait_until(self, condition: Callable[[], object], timeout_s: float = 15) -> None:
        """For what comes about without a call that waits for it."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited for {timeout_s:g} s:\n{self.log_tail()}"
            time.sleep(0.02)  # noqa: TID251 - no event loop here

    def exec(self, container: str, *command: str, timeout: int = 10) -> pb.ExecSyncResponse:
        response = self.runtime.ExecSync(pb.ExecSyncRequest(container_id=container, cmd=command, timeout=timeout))
        assert isinstance(response, pb.ExecSyncResponse)
        return response

    def stop_container(self, container: str, grace: int = 0) -> None:
        self.runtime.StopContainer(pb.StopContainerRequest(container_id=container, timeout=grace))

    def remove_container(self, container: str) -> None:
        self.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=container))

    def stop_pod(self, pod: str) -> None:
        self.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=pod))

    def remove_pod(self, pod: str) -> None:
        self.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=pod))

    def pods(self) -> list[pb.PodSandbox]:
        return list(self.runtime.ListPodSandbox(pb.ListPodSandboxRequest()).items)

    def containers(self) -> list[pb.Container]:
        return list(self.runtime.ListContainers(pb.ListContainersRequest()).containers)

    def remove_everything(self) -> None:
        """All pods, then the daemon, then what the host's network keeps."""
        if self.process is not None and self.process.poll() is None:
            if self.channel is None:
                self.wait_ready()
            for pod in self.pods():
                self.remove_pod(pod.id)
            self.stop()
        subprocess.run(["ip", "link", "delete", self.bridge], stderr=subprocess.DEVNULL, check=False)

    def clear_pods(self) -> None:
        """Remove all pods; nothing is left of them."""
        for pod in self.pods():
            self.remove_pod(pod.id)
        assert self.leftovers() == []

    def stored(self) -> list[str]:
        """What there is of images below the root: blobs, partial downloads, layers, container file systems."""
        content, snapshots = self.root / "content", self.root / "snapshots"
        found = [*content.glob("blobs/*/*"), *content.glob("ingest/*"), *snapshots.glob("staging/*")]
        found += [*snapshots.glob("containers/*"), *snapshots.glob("layers/*"), *(self.root / "trash").glob("*")]
        # One empty directory is the stack of images without layers.
        return sorted(str(path.relative_to(self.root)) for path in found if path != snapshots / "layers/0")

    def wait_until_nothing_is_stored(self) -> None:
        """After the last image."""
        self.wait_until_stored([])

    def wait_until_stored(self, expected: list[str]) -> None:
        """Deletion goes on in the background for a moment."""
        deadline = time.monotonic() + 5
        while (found := self.stored()) != expected:
            assert time.monotonic() < deadline, f"stored: {found}, not {expected}\n{self.log_tail()}"
            time.sleep(0.02)  # noqa: TID251 - no event loop here

    def leftovers(self) -> list[str]:
        """What is left, after a moment for what is deleted in the background."""
        deadline = time.monotonic() + 3
        while (found := self._leftovers()) and time.monotonic() < deadline:
            time.sleep(0.02)  # noqa: TID251 - no event loop here
        return found

    def _leftovers(self) -> list[str]:
        """What a daemon without pods has no right to: mounts, pod and container directories, cgroups, leases."""
        found = [
            line.split(" ")[4]
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if str(self.directory) in line
        ]
        places = ("sandboxes", "containers", "image-volumes", "exits")
        for directory in (*(self.run / place for place in places), self.root / "trash"):
            found += [str(path) for path in directory.iterdir()] if directory.exists() else []
        for pattern in ("runtime/*/*", "shims/places/*", "shims/exec/*", "shims/roots/*/*/*"):
            found += [str(path) for path in self.run.glob(pattern)]
        for top in Path("/sys/fs/cgroup").glob(f"*{self.cgroup_parent}"):
            found += [str(path) for path in top.iterdir() if path.is_dir()]
        found += [str(path) for path in self.ipam.glob("*/*") if path.name[0].isdigit() or ":" in path.name]
        return found


@contextmanager
def serving(daemon: Daemon) -> Iterator[Daemon]:
    """A daemon with the busybox image. After it nothing may be left: not even of a pod that the test forgot."""
    daemon.start()
    try:
        daemon.load_hello()
        yield daemon
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


def pod_config(
    name: str, log_directory: Path, *, host_network: bool = False, pid: int = pb.CONTAINER, uid: str = "",
    labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None, attempt: int = 0,
    port_mappings: Sequence[pb.PortMapping] = (), dns: pb.DNSConfig | None = None, hostname: str | None = None,
    sysctls: Mapping[str, str] | None = None, cgroup_parent: str = "", privileged: bool = False,
    resources: pb.LinuxContainerResources | None = None, overhead: pb.LinuxContainerResources | None = None,
) -> pb.PodSandboxConfig:  # fmt: skip
    """A pod as the kubelet would ask for it."""
    network = pb.NODE if host_network else pb.POD
    options = pb.NamespaceOption(network=network, pid=pid, ipc=pb.POD)  # type: ignore[arg-type]
    context = pb.LinuxSandboxSecurityContext(
        namespace_options=options,
        privileged=privileged,
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
    )
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, namespace="test", uid=uid or f"uid-{name}", attempt=attempt),
        hostname="" if host_network else (name if hostname is None else hostname),
        log_directory=str(log_directory), labels=dict(labels or {}), annotations=dict(annotations or {}),
        port_mappings=port_mappings, dns_config=dns,
        linux=pb.LinuxPodSandboxConfig(
            security_context=context, sysctls=dict(sysctls or {}), cgroup_parent=cgroup_parent, resources=resources,
            overhead=overhead,
        ),
    )  # fmt: skip


def container_config(
    name: str, *command: str, args: Sequence[str] = (), image: str = HELLO, env: Mapping[str, str] | None = None,
    mounts: Sequence[pb.Mount] = (), resources: pb.LinuxContainerResources | None = None,
    security: pb.LinuxContainerSecurityContext | None = None, attempt: int = 0, working_dir: str = "",
    labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None,
) -> pb.ContainerConfig:  # fmt: skip
    """A container as the kubelet would ask for it; its log is `NAME.log` in the pod's log directory."""
    context = security or pb.LinuxContainerSecurityContext()
    if not context.HasField("namespace_options"):
        context.namespace_options.CopyFrom(pb.NamespaceOption(network=pb.POD, pid=pb.CONTAINER, ipc=pb.POD))
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name, attempt=attempt),
        image=pb.ImageSpec(image=image), command=command, args=args, working_dir=working_dir,
        envs=[pb.KeyValue(key=key, value=value.encode()) for key, value in (env or {}).items()],
        mounts=mounts, log_path=f"{name}.log", labels=dict(labels or {}), annotations=dict(annotations or {}),
        linux=pb.LinuxContainerConfig(resources=resources, security_context=context),
    )  # fmt: skip
