"""The backend of OCI runtimes: joins equal calls, and binds the verbs of pods to those of their containers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from podwright.backend.events import LifecycleEvent, subscribe
from podwright.backend.plugin_node import PluginNode, announce_pod_update, reviewed_update
from podwright.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, Unimplemented
from podwright.base.inflight import Inflight, Stage
from podwright.base.streams import ProcessStreams, Reader, Writer
from podwright.base.tasks import Tasks, gather_all
from podwright.base.undo import Undo
from podwright.container import recover as container_recover
from podwright.container.attach import attach, require_attachable
from podwright.container.checkpoint.take import Checkpoints, PodName
from podwright.container.collaborators import Collaborators as ContainerCollaborators
from podwright.container.create import create_container
from podwright.container.ending import RuntimeEnding
from podwright.container.exec import exec_interactive, exec_sync, require_running
from podwright.container.exits import Exits, monitored
from podwright.container.metrics import MetricsReader
from podwright.container.model import Container, container_key
from podwright.container.own_kernel import OwnKernelUsage
from podwright.container.remove import remove_container
from podwright.container.spec.userns import pod_id_maps
from podwright.container.start import start_container
from podwright.container.stats import ContainerStats, StatsReader
from podwright.container.stop import Stopper
from podwright.container.update import update_container
from podwright.criapi import api_pb2 as pb
from podwright.nri.base import Event
from podwright.runtime.base import ExecResult
from podwright.sandbox import recover as sandbox_recover
from podwright.sandbox.collaborators import Collaborators as SandboxCollaborators
from podwright.sandbox.facts import sandbox_facts
from podwright.sandbox.metrics import PodMetrics, PodMetricsReader
from podwright.sandbox.model import Sandbox, sandbox_key
from podwright.sandbox.pause import Pause
from podwright.sandbox.port_forward import forward_port, require_forwardable
from podwright.sandbox.remove import remove_sandbox
from podwright.sandbox.run import run_sandbox
from podwright.sandbox.size import sized_by_client
from podwright.sandbox.stats import PodStats, PodStatsReader
from podwright.sandbox.stop import stop_sandbox
from podwright.sandbox.update import update_sandbox


class NativeBackend:
    """Implements `backend.base.Backend`."""

    def __init__(
        self, pods: SandboxCollaborators, containers: ContainerCollaborators, checkpoints: Checkpoints, tasks: Tasks
    ) -> None:
        self._pods, self._containers, self._tasks = pods, containers, tasks
        self._checkpoints = checkpoints
        self._pause = Pause(pods, containers.monitor, tasks)
        self._exits = Exits(containers, tasks)
        ending = RuntimeEnding(containers, self._exits)
        self._stopper = Stopper(ending, tasks, kill_wait_s=containers.settings.stop_kill_wait_s)
        self._stats = StatsReader(
            containers.cgroups, containers.snapshots.usage, lambda: containers.snapshots.mountpoint, tasks,
            disk_interval_s=containers.settings.stats_disk_interval_s, elsewhere=OwnKernelUsage(containers, tasks),
        )  # fmt: skip
        self._pod_stats = PodStatsReader(pods, containers.containers, self._stats)
        metrics = MetricsReader(containers.cgroups, self._stats)
        self._pod_metrics = PodMetricsReader(pods, containers.containers, metrics)
        self._running: Inflight[Any] = Inflight(tasks)
        self.plugin_node = PluginNode(pods, containers, self._stopper)

    async def recover(self) -> None:
        """Make records and reality agree; before the socket answers."""
        await container_recover.recover_containers(self._containers, self._exits)
        await self._checkpoints.recover()
        await sandbox_recover.recover_sandboxes(self._pods, self._pause)

    async def run_sandbox(self, config: pb.PodSandboxConfig, handler: str) -> Sandbox:
        key = sandbox_key(config)
        existing = self._pods.sandboxes.by_key(key)
        if existing is not None and existing.ready and existing.id not in self._pods.sandboxes.hidden:
            return existing  # a retry of a call whose answer was lost
        work = partial(run_sandbox, self._pods, self._pause, config, handler)
        sandbox: Sandbox = await self._running.join(("run", key), f"run {key[1]}/{key[0]}", work)
        return sandbox

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._pods.sandboxes.find_or_none(sandbox_id)
        if sandbox is not None:
            await self._running.join(("stop", sandbox.id), f"stop pod {sandbox.id[:13]}", partial(self._stop, sandbox))

    async def _stop(self, sandbox: Sandbox, stage: Stage) -> None:
        stage("containers")
        containers = self._containers.containers.of_sandbox(sandbox.id)
        await gather_all(*(self._stopper.stop(container, 0) for container in containers), name="stop containers")
        stage("network and namespaces")
        await stop_sandbox(self._pods, self._pause, sandbox)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._pods.sandboxes.find_or_none(sandbox_id)
        if sandbox is not None:
            work = partial(self._remove, sandbox)
            await self._running.join(("remove", sandbox.id), f"remove pod {sandbox.id[:13]}", work)

    async def _remove(self, sandbox: Sandbox, stage: Stage) -> None:
        await self.stop_sandbox(sandbox.id)
        stage("containers")
        containers = self._containers.containers.of_sandbox(sandbox.id)
        await gather_all(*(self.remove_container(container.id) for container in containers), name="remove containers")
        stage("pod files")
        await remove_sandbox(self._pods, sandbox)
        self._pod_stats.forget(sandbox.id)

    async def update_sandbox(
        self, sandbox_id: str, overhead: pb.LinuxContainerResources | None, resources: pb.LinuxContainerResources | None
    ) -> None:
        sandbox = self.sandbox(sandbox_id)
        if sandbox.ready:
            await announce_pod_update(self._pods, self._containers, sandbox, overhead, resources)
        update_sandbox(self._pods, sandbox, overhead, resources)
        await self._pods.plugins.after(Event.POST_UPDATE_POD_SANDBOX, sandbox.id)

    async def restore_sandbox(
        self, path: str, config: pb.PodSandboxConfig, handler: str, containers: Sequence[pb.ContainerConfig]
    ) -> tuple[Sandbox, Sequence[Container]]:
        await self._checkpoints.require_restore(handler)
        key = sandbox_key(config)
        if pod_id_maps(config.linux.security_context.namespace_options) is not None:
            raise Unimplemented("a pod in a user namespace of its own can't be restored")
        work = partial(self._restore, path, config, handler, containers)
        restored: tuple[Sandbox, Sequence[Container]] = await self._running.join(
            ("restore", key, path), f"restore {key[1]}/{key[0]}", work
        )
        return restored

    async def _restore(
        self, path: str, config: pb.PodSandboxConfig, handler: str, configs: Sequence[pb.ContainerConfig], stage: Stage
    ) -> tuple[Sandbox, Sequence[Container]]:
        existing = self._pods.sandboxes.by_key(sandbox_key(config))
        if existing is not None:
            return existing, self._restored_before(existing, path, configs)
        stage("checkpoint")
        names = [config.metadata.name for config in configs]
        async with self._checkpoints.unpacked(path, names) as archives, Undo("restore pod") as undo:
            stage("pod")
            sandbox = await self.run_sandbox(config, handler)
            undo.add("remove the pod", partial(self.remove_sandbox, sandbox.id))
            facts = sandbox_facts(self._pods, sandbox)
            restored = [
                await create_container(self._containers, self._exits, facts, c, stage, archives[c.metadata.name])
                for c in configs
            ]
            undo.keep()
        return sandbox, restored

    def _restored_before(
        self, sandbox: Sandbox, path: str, configs: Sequence[pb.ContainerConfig]
    ) -> Sequence[Container]:
        """The containers of a restore whose answer was lost. Raises AlreadyExists for any other pod."""
        found = {c.config.metadata.name: c for c in self._containers.containers.of_sandbox(sandbox.id)}
        wanted = {config.metadata.name: config for config in configs}
        same = sandbox.ready and found.keys() == wanted.keys()
        if not same or not all(
            container.awaits_restore and (container.record.restored_from, container.config) == (path, wanted[name])
            for name, container in found.items()
        ):
            metadata = sandbox.config.metadata
            raise AlreadyExists(
                f"pod {metadata.namespace}/{metadata.name} attempt {metadata.attempt} exists: remove it first"
            )
        return [found[name] for name in wanted]

    def sandbox(self, sandbox_id: str) -> Sandbox:
        return self._pods.sandboxes.find(sandbox_id)

    def sandboxes(self) -> Iterator[Sandbox]:
        return self._pods.sandboxes.visible()

    def require_port_forward(self, sandbox_id: str) -> None:
        require_forwardable(self.sandbox(sandbox_id))

    async def port_forward(self, sandbox_id: str, port: int, *, incoming: Reader, outgoing: Writer) -> None:
        await forward_port(self._pods, self.sandbox(sandbox_id), port, incoming=incoming, outgoing=outgoing)

    async def create_container(
        self, sandbox_id: str, config: pb.ContainerConfig, sandbox_config: pb.PodSandboxConfig
    ) -> Container:
        sandbox = self._pods.sandboxes.find(sandbox_id)
        key = container_key(sandbox.id, config)
        existing = self._containers.containers.by_key(key)
        if existing is not None and existing.state == pb.CONTAINER_CREATED and existing.id not in self._hidden:
            return existing  # a retry of a call whose answer was lost
        if not sandbox.ready:
            raise FailedPrecondition(f"pod sandbox {sandbox.id[:13]} is not ready: containers can't be created in it")
        work = partial(create_container, self._containers, self._exits, sandbox_facts(self._pods, sandbox), config)
        container: Container = await self._running.join(("create", key), f"create {config.metadata.name}", work)
        return container

    @property
    def _hidden(self) -> set[str]:
        return self._containers.containers.hidden

    async def start_container(self, container_id: str) -> None:
        container = self.container(container_id)
        if not self._pods.sandboxes.find(container.record.sandbox_id).ready:
            raise FailedPrecondition(
                f"pod sandbox {container.record.sandbox_id[:13]} is not ready: its containers can't be started"
            )
        work = partial(start_container, self._containers, self._exits, container)
        await self._running.join(("start", container.id), f"start {container.id[:13]}", work)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        container = self._containers.containers.find_or_none(container_id)
        if container is not None:
            await self._stopper.stop(container, grace_s)

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.containers.find_or_none(container_id)
        if container is not None:
            work = partial(self._remove_container, container)
            await self._running.join(("remove", container.id), f"remove {container.id[:13]}", work)

    async def _remove_container(self, container: Container, stage: Stage) -> None:
        stage("stop and take down")
        await remove_container(self._containers, self._exits, self._stopper, container)
        self._stats.forget(container.id)

    def container(self, container_id: str) -> Container:
        return self._containers.containers.find(container_id)

    def containers(self) -> Iterator[Container]:
        return self._containers.containers.visible()

    async def update_container(
        self, container_id: str, resources: pb.LinuxContainerResources, annotations: Mapping[str, str]
    ) -> None:
        container = self.container(container_id)
        asked = (resources.SerializeToString(deterministic=True), *sorted(annotations.items()))
        work = partial(self._update, container, resources, annotations)
        await self._running.join(("update", container.id, asked), f"update {container.id[:13]}", work)

    async def _update(
        self, container: Container, asked: pb.LinuxContainerResources, annotations: Mapping[str, str], stage: Stage
    ) -> None:
        stage("NRI plugins")
        resources = await reviewed_update(self._containers, container, asked)
        sandbox = self._pods.sandboxes.find(container.record.sandbox_id)
        sized = sized_by_client(self._pods.cgroups, sandbox)
        await update_container(self._containers, container, resources, annotations, stage, pod_is_sized=sized)
        await self._containers.plugins.after(Event.POST_UPDATE_CONTAINER, container.id)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float | None) -> ExecResult:
        return await exec_sync(self._containers, self.container(container_id), command, timeout_s)

    def require_exec(self, container_id: str) -> None:
        require_running(self.container(container_id))

    async def exec(self, container_id: str, command: Sequence[str], *, terminal: bool, streams: ProcessStreams) -> int:
        container = self.container(container_id)
        return await exec_interactive(self._containers, container, command, terminal=terminal, streams=streams)

    def require_attach(self, container_id: str, *, terminal: bool) -> None:
        require_attachable(self.container(container_id), terminal=terminal)

    async def attach(self, container_id: str, *, streams: ProcessStreams) -> None:
        await attach(self._containers, self.container(container_id), streams)

    async def reopen_log(self, container_id: str) -> None:
        container = self.container(container_id)
        if not container.running:
            raise FailedPrecondition(f"container {container.id[:13]} does not run: nobody writes its log")
        # Joined: a monitor that is told twice would put an empty file in the place of one that has lines already.
        await self._running.join(
            ("reopen", container.id), f"reopen log of {container.id[:13]}", partial(self._reopen_log, container)
        )

    async def _reopen_log(self, container: Container, stage: Stage) -> None:
        stage("monitor")
        await self._containers.monitor.reopen_log(monitored(self._containers, container))

    async def checkpoint_container(self, container_id: str, location: str, timeout_s: float | None) -> None:
        await self._checkpoints.container(self.container(container_id), location, timeout_s)

    async def checkpoint_sandbox(self, sandbox_id: str, container_ids: Sequence[str], output_path: str) -> None:
        sandbox = self.sandbox(sandbox_id)
        containers = [self.container(container_id) for container_id in container_ids]
        for at, container in enumerate(containers):
            if container.record.sandbox_id != sandbox.id:
                raise InvalidArgument("belongs to another pod", field=f"container_ids[{at}]")
            if container in containers[:at]:
                raise InvalidArgument("is named twice", field=f"container_ids[{at}]")
        metadata = sandbox.config.metadata
        await self._checkpoints.pod(PodName(sandbox.id, metadata.name, metadata.namespace), containers, output_path)

    async def container_stats(self, containers: Iterable[Container]) -> Sequence[ContainerStats]:
        return await self._stats.read(containers)

    async def pod_stats(self, sandboxes: Iterable[Sandbox]) -> Sequence[PodStats]:
        return await self._pod_stats.read(sandboxes)

    async def pod_metrics(self, sandboxes: Iterable[Sandbox]) -> Sequence[PodMetrics]:
        return await self._pod_metrics.read(sandboxes)

    def subscribe(self, listener: Callable[[LifecycleEvent], None]) -> Callable[[], None]:
        return subscribe(self._pods.sandboxes, self._containers.containers, listener)

    def stages(self) -> dict[str, str]:
        """What runs now, and how far it has come; part of the verbose Status."""
        return self._running.stages()
