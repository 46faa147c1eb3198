"""The backend of a Docker Engine: joins equal calls, and binds the verbs of pods to those of their containers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from podwright.backend.events import LifecycleEvent, subscribe
from podwright.base.errors import FailedPrecondition, Unimplemented
from podwright.base.inflight import Inflight, Stage
from podwright.base.streams import ProcessStreams, Reader, Writer
from podwright.base.tasks import gather_all
from podwright.container.attach import require_attachable
from podwright.container.exec import require_running
from podwright.container.metrics import MetricsReader
from podwright.container.model import Container, container_key
from podwright.container.stats import ContainerStats, StatsReader
from podwright.container.stop import Stopper
from podwright.criapi import api_pb2 as pb
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.accounts import AccountFiles
from podwright.docker.container.attach import attach
from podwright.docker.container.create import create_container
from podwright.docker.container.ending import EngineEnding
from podwright.docker.container.exec import exec_interactive, exec_sync
from podwright.docker.container.exec_process import Execs
from podwright.docker.container.exits import Exits
from podwright.docker.container.log_place import LogPlaces
from podwright.docker.container.logs import Logs
from podwright.docker.container.recover import recover_containers
from podwright.docker.container.remove import remove_container
from podwright.docker.container.start import start_container
from podwright.docker.container.update import update_container
from podwright.docker.pod.hold import Holds
from podwright.docker.pod.recover import recover_sandboxes
from podwright.docker.pod.run import run_sandbox
from podwright.docker.pod.stop import remove_sandbox, stop_sandbox
from podwright.network import port_forward
from podwright.runtime.base import ExecResult
from podwright.sandbox.metrics import PodMetrics, PodMetricsReader
from podwright.sandbox.model import Sandbox, sandbox_key
from podwright.sandbox.port_forward import require_forwardable
from podwright.sandbox.stats import PodStats, PodStatsReader
from podwright.sandbox.update import update_sandbox
from podwright.state.store import Store

_NO_CHECKPOINTS = "the Docker backend takes no checkpoints; the native backend does"


class DockerBackend:
    """Implements `backend.base.Backend`."""

    def __init__(self, on: Collaborators, store: Store, mountpoint: Callable[[], Path]) -> None:
        """`mountpoint`: of the engine's files, known once it was asked."""
        self._on = on
        self._execs = Execs(on.engine, store, on.tasks)
        self._logs = Logs(on, LogPlaces(store))
        self._exits = Exits(on, self._logs)
        self._holds = Holds(on)
        self._accounts = AccountFiles(on.engine, on.instance)
        ending = EngineEnding(on, self._exits)
        self._stopper = Stopper(ending, on.tasks, kill_wait_s=on.container_settings.stop_kill_wait_s)
        self._stats = StatsReader(
            on.cgroups, on.layers.count, mountpoint, on.tasks,
            disk_interval_s=on.container_settings.stats_disk_interval_s,
        )  # fmt: skip
        self._pod_stats = PodStatsReader(on, on.containers, self._stats)
        self._pod_metrics = PodMetricsReader(on, on.containers, MetricsReader(on.cgroups, self._stats))
        self._running: Inflight[Any] = Inflight(on.tasks)

    async def recover(self) -> None:
        """Make records and the engine agree; before the socket answers."""
        await self._execs.end_leftovers()
        await recover_containers(self._on, self._exits, self._logs)
        await recover_sandboxes(self._on, self._holds)

    async def run_sandbox(self, config: pb.PodSandboxConfig, handler: str) -> Sandbox:
        key = sandbox_key(config)
        existing = self._on.sandboxes.by_key(key)
        if existing is not None and existing.ready and existing.id not in self._on.sandboxes.hidden:
            return existing  # a retry of a call whose answer was lost
        work = partial(run_sandbox, self._on, self._holds, config, handler)
        sandbox: Sandbox = await self._running.join(("run", key), f"run {key[1]}/{key[0]}", work)
        return sandbox

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._on.sandboxes.find_or_none(sandbox_id)
        if sandbox is not None:
            await self._running.join(("stop", sandbox.id), f"stop pod {sandbox.id[:13]}", partial(self._stop, sandbox))

    async def _stop(self, sandbox: Sandbox, stage: Stage) -> None:
        stage("containers")
        containers = self._on.containers.of_sandbox(sandbox.id)
        await gather_all(*(self._stopper.stop(container, 0) for container in containers), name="stop containers")
        stage("network and sandbox container")
        await stop_sandbox(self._on, sandbox)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._on.sandboxes.find_or_none(sandbox_id)
        if sandbox is not None:
            work = partial(self._remove, sandbox)
            await self._running.join(("remove", sandbox.id), f"remove pod {sandbox.id[:13]}", work)

    async def _remove(self, sandbox: Sandbox, stage: Stage) -> None:
        await self.stop_sandbox(sandbox.id)
        stage("containers")
        containers = self._on.containers.of_sandbox(sandbox.id)
        await gather_all(*(self.remove_container(container.id) for container in containers), name="remove containers")
        stage("pod files")
        await remove_sandbox(self._on, sandbox)
        self._pod_stats.forget(sandbox.id)

    async def update_sandbox(
        self, sandbox_id: str, overhead: pb.LinuxContainerResources | None, resources: pb.LinuxContainerResources | None
    ) -> None:
        update_sandbox(self._on, self.sandbox(sandbox_id), overhead, resources)

    def sandbox(self, sandbox_id: str) -> Sandbox:
        return self._on.sandboxes.find(sandbox_id)

    def sandboxes(self) -> Iterator[Sandbox]:
        return self._on.sandboxes.visible()

    def require_port_forward(self, sandbox_id: str) -> None:
        require_forwardable(self.sandbox(sandbox_id))

    async def port_forward(self, sandbox_id: str, port: int, *, incoming: Reader, outgoing: Writer) -> None:
        sandbox = self.sandbox(sandbox_id)
        require_forwardable(sandbox)
        netns = None if sandbox.host_network else self._on.layout.namespace(sandbox.id, "net")
        if self._on.handlers.isolates(sandbox.record.handler):
            # Its network stack is not the namespace's: it is reached from outside, by the pod's addresses.
            await port_forward.forward_port(None, port, incoming=incoming, outgoing=outgoing, addresses=sandbox.ips)
            return
        await port_forward.forward_port(netns, port, incoming=incoming, outgoing=outgoing)

    async def create_container(
        self, sandbox_id: str, config: pb.ContainerConfig, sandbox_config: pb.PodSandboxConfig
    ) -> Container:
        sandbox = self._on.sandboxes.find(sandbox_id)
        key = container_key(sandbox.id, config)
        existing = self._on.containers.by_key(key)
        hidden = self._on.containers.hidden
        if existing is not None and existing.state == pb.CONTAINER_CREATED and existing.id not in hidden:
            return existing  # a retry of a call whose answer was lost
        if not sandbox.ready:
            raise FailedPrecondition(f"pod sandbox {sandbox.id[:13]} is not ready: it takes no new containers")
        work = partial(create_container, self._on, self._logs, self._accounts, sandbox, config)
        container: Container = await self._running.join(("create", key), f"create {key[1]}", work)
        return container

    async def start_container(self, container_id: str) -> None:
        container = self.container(container_id)
        if not self._on.sandboxes.find(container.record.sandbox_id).ready:
            raise FailedPrecondition(
                f"pod sandbox {container.record.sandbox_id[:13]} is not ready: its containers can't be started"
            )
        work = partial(start_container, self._on, self._exits, self._logs, container)
        await self._running.join(("start", container.id), f"start {container.id[:13]}", work)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        container = self._on.containers.find_or_none(container_id)
        if container is not None:
            await self._stopper.stop(container, grace_s)

    async def remove_container(self, container_id: str) -> None:
        container = self._on.containers.find_or_none(container_id)
        if container is not None:
            work = partial(self._remove_container, container)
            await self._running.join(("remove", container.id), f"remove {container.id[:13]}", work)

    async def _remove_container(self, container: Container, stage: Stage) -> None:
        stage("stop and take down")
        await remove_container(self._on, self._exits, self._logs, self._stopper, container)
        self._stats.forget(container.id)

    def container(self, container_id: str) -> Container:
        return self._on.containers.find(container_id)

    def containers(self) -> Iterator[Container]:
        return self._on.containers.visible()

    async def update_container(
        self, container_id: str, resources: pb.LinuxContainerResources, annotations: Mapping[str, str]
    ) -> None:
        container = self.container(container_id)
        asked = (resources.SerializeToString(deterministic=True), *sorted(annotations.items()))
        work = partial(update_container, self._on, container, resources, annotations)
        await self._running.join(("update", container.id, asked), f"update {container.id[:13]}", work)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float | None) -> ExecResult:
        container = self.container(container_id)
        return await exec_sync(self._execs, self._on.container_settings, container, command, timeout_s)

    def require_exec(self, container_id: str) -> None:
        require_running(self.container(container_id))

    async def exec(self, container_id: str, command: Sequence[str], *, terminal: bool, streams: ProcessStreams) -> int:
        container, settings = self.container(container_id), self._on.container_settings
        return await exec_interactive(self._execs, settings, container, command, terminal=terminal, streams=streams)

    def require_attach(self, container_id: str, *, terminal: bool) -> None:
        require_attachable(self.container(container_id), terminal=terminal)

    async def attach(self, container_id: str, *, streams: ProcessStreams) -> None:
        await attach(self._on, self.container(container_id), streams)

    async def reopen_log(self, container_id: str) -> None:
        container = self.container(container_id)
        if not container.running:
            raise FailedPrecondition(f"container {container.id[:13]} does not run: nobody writes its log")
        self._logs.reopen(container)

    async def checkpoint_container(self, container_id: str, location: str, timeout_s: float | None) -> None:
        raise Unimplemented(_NO_CHECKPOINTS)

    async def checkpoint_sandbox(self, sandbox_id: str, container_ids: Sequence[str], output_path: str) -> None:
        raise Unimplemented(_NO_CHECKPOINTS)

    async def restore_sandbox(
        self, path: str, config: pb.PodSandboxConfig, handler: str, containers: Sequence[pb.ContainerConfig]
    ) -> tuple[Sandbox, Sequence[Container]]:
        raise Unimplemented(_NO_CHECKPOINTS)

    async def container_stats(self, containers: Iterable[Container]) -> Sequence[ContainerStats]:
        return await self._stats.read(containers)

    async def pod_stats(self, sandboxes: Iterable[Sandbox]) -> Sequence[PodStats]:
        return await self._pod_stats.read(sandboxes)

    async def pod_metrics(self, sandboxes: Iterable[Sandbox]) -> Sequence[PodMetrics]:
        return await self._pod_metrics.read(sandboxes)

    def subscribe(self, listener: Callable[[LifecycleEvent], None]) -> Callable[[], None]:
        return subscribe(self._on.sandboxes, self._on.containers, listener)

    def stages(self) -> dict[str, str]:
        """What runs now, and how far it has come; part of the verbose Status."""
        return self._running.stages()
