"""The verbs that the CRI surface calls, whoever carries them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from podwright.container.model import Container
from podwright.container.stats import ContainerStats
from podwright.criapi import api_pb2 as pb
from podwright.runtime.base import ExecResult
from podwright.sandbox.model import Sandbox


class PodBackend(Protocol):
    """Pods.

    Verbs that change something are joined by key: a second call with the same key while the first runs awaits
    the same work, and one that comes after it finds its result. Cancelling a caller never cancels the work.
    Ids may be unique prefixes. Stop and remove of what isn't there are success.
    """

    async def run_sandbox(self, config: pb.PodSandboxConfig, handler: str) -> Sandbox: ...

    async def stop_sandbox(self, sandbox_id: str) -> None: ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Raises NotFound, AmbiguousId."""
        ...

    def sandboxes(self) -> Iterable[Sandbox]: ...


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

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float | None) -> ExecResult: ...

    async def reopen_log(self, container_id: str) -> None: ...

    async def stats(self, container: Container) -> ContainerStats | None:
        """Resource usage; None for a container that has no process any more."""
        ...


class Backend(PodBackend, ContainerBackend, Protocol):
    """Pods and containers of one owner."""
