"""The verbs that the CRI surface calls, whoever carries them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from podwright.backend.events import LifecycleEvent
from podwright.base.streams import ProcessStreams, Reader, Writer
from podwright.container.model import Container
from podwright.container.stats import ContainerStats
from podwright.criapi import api_pb2 as pb
from podwright.runtime.base import ExecResult
from podwright.sandbox.metrics import PodMetrics
from podwright.sandbox.model import Sandbox
from podwright.sandbox.stats import PodStats


class PodBackend(Protocol):
    """Pods.

    Verbs that change something are joined by key: a second call with the same key while the first runs awaits
    the same work, and one that comes after it finds its result. Cancelling a caller never cancels the work.
    Ids may be unique prefixes. Stop and remove of what isn't there are success.
    """

    async def run_sandbox(self, config: pb.PodSandboxConfig, handler: str) -> Sandbox: ...

    async def stop_sandbox(self, sandbox_id: str) -> None: ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def update_sandbox(
        self, sandbox_id: str, overhead: pb.LinuxContainerResources | None, resources: pb.LinuxContainerResources | None
    ) -> None:
        """Take note of a pod's new size: its containers' limits together, and what the pod costs beside them."""
        ...

    async def checkpoint_sandbox(self, sandbox_id: str, container_ids: Sequence[str], output_path: str) -> None:
        """Write a checkpoint of all running containers of a pod, as of one moment, to an empty directory.

        A caller that is cancelled ends it, without a trace. Raises NotFound, InvalidArgument, FailedPrecondition,
        Unimplemented (this machine or runtime can't), DeadlineExceeded.
        """
        ...

    async def restore_sandbox(
        self, path: str, config: pb.PodSandboxConfig, handler: str, containers: Sequence[pb.ContainerConfig]
    ) -> tuple[Sandbox, Sequence[Container]]:
        """A pod whose containers are CREATED, and go on where the checkpoint was taken when they are started.

        Nothing is left after an error. Raises what `run_sandbox` and `create_container` raise, AlreadyExists,
        PermissionDenied (others may write the checkpoint), Unimplemented.
        """
        ...

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Raises NotFound, AmbiguousId."""
        ...

    def sandboxes(self) -> Iterable[Sandbox]: ...

    async def pod_stats(self, sandboxes: Iterable[Sandbox]) -> Sequence[PodStats]:
        """Resource usage of those of the pods that are ready, in order."""
        ...

    async def pod_metrics(self, sandboxes: Iterable[Sandbox]) -> Sequence[PodMetrics]:
        """What monitoring wants to know of those of the pods that are ready, in order."""
        ...

    def require_port_forward(self, sandbox_id: str) -> None:
        """Asked before a URL is given away. Raises NotFound, AmbiguousId, FailedPrecondition (not ready)."""
        ...

    async def port_forward(self, sandbox_id: str, port: int, *, incoming: Reader, outgoing: Writer) -> None:
        """One connection to a port of the pod's loopback, until both directions have ended.

        `incoming` is what the client sends, `outgoing` goes to it and is closed here. A caller that is cancelled
        ends it. Raises what `require_port_forward` raises, InvalidArgument for a port that is none, Unavailable when
        nobody listens.
        """
        ...


class ContainerBackend(Protocol):
    """Containers; the rules of `PodBackend` hold."""

    async def create_container(
        self, sandbox_id: str, config: pb.ContainerConfig, sandbox_config: pb.PodSandboxConfig
    ) -> Container: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, grace_s: float) -> None: ...

    async def remove_container(self, container_id: str) -> None: ...

    def container(self, container_id: str) -> Container:
        """Raises NotFound, AmbiguousId."""
        ...

    def containers(self) -> Iterable[Container]: ...

    async def update_container(
        self, container_id: str, resources: pb.LinuxContainerResources, annotations: Mapping[str, str]
    ) -> None:
        """Change limits: all that are not zero, or none."""
        ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float | None) -> ExecResult: ...

    def require_exec(self, container_id: str) -> None:
        """Asked before a URL is given away. Raises NotFound, AmbiguousId, FailedPrecondition (does not run)."""
        ...

    async def exec(self, container_id: str, command: Sequence[str], *, terminal: bool, streams: ProcessStreams) -> int:
        """Run a process with the client's streams until it ends: its exit code, 128+n for signal n.

        All output has been written, and the writers closed, before this returns. A client that went away (a stream
        raises ConnectionError) hangs the process up; a caller that is cancelled kills it. Raises what `require_exec`
        raises, CommandNotRunnable.
        """
        ...

    def require_attach(self, container_id: str, *, terminal: bool) -> None:
        """Asked before a URL is given away.

        Raises NotFound, AmbiguousId, FailedPrecondition (has ended), InvalidArgument when the container was created
        otherwise than `terminal` says.
        """
        ...

    async def attach(self, container_id: str, *, streams: ProcessStreams) -> None:
        """Join the streams of the container's first process until it ends or the client goes away.

        Many may be attached at once; each gets the output from now on. The writers are closed before this returns.
        A caller that is cancelled is detached. Raises NotFound, AmbiguousId, FailedPrecondition.
        """
        ...

    async def checkpoint_container(self, container_id: str, location: str, timeout_s: float | None) -> None:
        """Write an archive of a running container's processes and files to a file. As `checkpoint_sandbox`."""
        ...

    async def reopen_log(self, container_id: str) -> None: ...

    async def container_stats(self, containers: Iterable[Container]) -> Sequence[ContainerStats]:
        """Resource usage of those of the containers that run, in order."""
        ...


class EventSource(Protocol):
    """What happens to pods and containers, as it happens."""

    def subscribe(self, listener: Callable[[LifecycleEvent], None]) -> Callable[[], None]:
        """Call `listener`, which must return at once, for each event from now on; gives the function that ends it."""
        ...


class Backend(PodBackend, ContainerBackend, EventSource, Protocol):
    """Pods and containers of one owner."""
