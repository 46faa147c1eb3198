"""What the engine tells of a container, as far as we ask. Docker Engine API v1.41, ContainerInspect."""

from __future__ import annotations

import msgspec

from podwright.wire.cri_log import parse_time

_NEVER = "0001-01-01T00:00:00Z"


class State(msgspec.Struct, rename="pascal", frozen=True):
    """`status`: created, running, paused, restarting, removing, exited or dead. `pid` is 0 unless it runs."""

    status: str = ""
    running: bool = False
    paused: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    started_at: str = _NEVER
    finished_at: str = _NEVER

    @property
    def started_ns(self) -> int:
        """Nanoseconds since the epoch; 0: never."""
        return _nanoseconds(self.started_at)

    @property
    def finished_ns(self) -> int:
        return _nanoseconds(self.finished_at)


class ContainerConfig(msgspec.Struct, rename="pascal", frozen=True):
    """The part of a container's configuration that we look at."""

    labels: dict[str, str] | None = None


class GraphDriver(msgspec.Struct, rename="pascal", frozen=True):
    """Where the container's files are; overlay2 tells UpperDir."""

    data: dict[str, str] | None = None


class Inspected(msgspec.Struct, rename="pascal", frozen=True):
    """GET /containers/NAME/json"""

    id: str
    state: State
    config: ContainerConfig = ContainerConfig()
    graph_driver: GraphDriver = GraphDriver()


class Listed(msgspec.Struct, rename="pascal", frozen=True):
    """An item of GET /containers/json."""

    id: str
    labels: dict[str, str] | None = None


class Created(msgspec.Struct, rename="pascal", frozen=True):
    """POST /containers/create, POST /containers/NAME/exec"""

    id: str
    warnings: list[str] | None = None


class ExecState(msgspec.Struct, rename="pascal", frozen=True):
    """GET /exec/ID/json. `pid` is 0 before the process runs, and of one that never did."""

    running: bool = False
    exit_code: int | None = None
    pid: int = 0

    @property
    def ended(self) -> bool:
        """Whether it has run, or could not."""
        return not self.running and self.exit_code is not None


class Runtime(msgspec.Struct, frozen=True):
    """One of Docker's runtimes; `path` is missing of those that are shims."""

    path: str = ""


class Info(msgspec.Struct, rename="pascal", frozen=True):
    """GET /info"""

    cgroup_driver: str = ""
    default_runtime: str = "runc"
    runtimes: dict[str, Runtime] = {}
    server_version: str = ""
    docker_root_dir: str = ""
    live_restore_enabled: bool = False


def _nanoseconds(text: str) -> int:
    return 0 if text.startswith("0001-") else parse_time(text.encode())
