"""What a backend's composition gives to the daemon: its objects, and the order in which they come up and go down."""

from __future__ import annotations

from typing import Protocol

from podwright.backend.base import Backend
from podwright.backend.images import ImageBackend
from podwright.container.model import Containers
from podwright.cri.runtime_service import NodeStatus
from podwright.sandbox.model import Sandboxes
from podwright.telemetry.metrics import Metrics


class Assembly(Protocol):
    """A backend with all that it stands on.

    `recover` makes records and reality agree and learns what the machine can do; `start` opens what the backend itself
    listens on; then the surfaces serve, until `stop_accepting`, which closes that again; `close` ends the work that is
    left and closes what is open. Containers outlive all of it.
    """

    @property
    def backend(self) -> Backend: ...

    @property
    def images(self) -> ImageBackend: ...

    @property
    def node(self) -> NodeStatus: ...

    @property
    def sandboxes(self) -> Sandboxes: ...

    @property
    def containers(self) -> Containers: ...

    def explain(self) -> str:
        """What runs the containers, and why; for people."""
        ...

    def add_metrics(self, metrics: Metrics) -> None:
        """Gauges that only this backend has."""
        ...

    async def recover(self) -> None: ...

    async def start(self) -> None: ...

    async def stop_accepting(self) -> None: ...

    async def close(self) -> None: ...
