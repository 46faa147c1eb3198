"""A container's record: facts, and the state derived from them.

    record stored ──► file system, monitor, runtime create ──► created_at ──► started_at ──► finished_at ──► gone
         │                                                        CREATED       RUNNING        EXITED
         └── died before created_at: no container yet, start-up takes it down

A start that fails sets finished_at with the reason StartError. A paused container is RUNNING. UNKNOWN is shown
only while neither the monitor nor the process can be found and no exit was recorded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property

import msgspec

from podwright.base.errors import NotFound
from podwright.base.ids import PrefixIndex
from podwright.base.lifecycle import Changes, Step
from podwright.criapi import api_pb2 as pb
from podwright.linux.pidfd import ProcessIdentity
from podwright.state.store import Store

ContainerKey = tuple[str, str, int]

EXIT_CODE_LOST = 255
"""The exit code of a container whose end nobody saw."""

START_ERROR = "StartError"
"""The reason of a container that ended because it could not be started."""


class ContainerUser(msgspec.Struct, frozen=True, omit_defaults=True):
    """The identity the first process really got."""

    uid: int = 0
    gid: int = 0
    supplemental_groups: tuple[int, ...] = ()


class ImageVolume(msgspec.Struct, frozen=True):
    """Mount number `at` of the configuration shows the image `image_id`, whatever name it was asked for by."""

    at: int
    image_id: str


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored of a container. Times are nanoseconds since the epoch, 0 where it has not happened.

    `cgroups_path` is the runtime specification's, `cgroup` the kernel's path of the same. `resources`: the limits in
    force since the last update, b"" before one; `update_undo`: cgroup files as they were before an update that has
    not finished; `update_annotations`: those that came with updates. `restored`: it has no process until it is
    started, and then one that goes on where a checkpoint was taken; `restored_from`: the checkpoint's directory.
    """

    id: str
    sandbox_id: str
    config: bytes
    handler: str
    image_id: str
    image_ref: str
    reserved_at: int
    boot: str
    version: int = 1
    cgroups_path: str = ""
    cgroup: str = ""
    log_path: str = ""
    image_volumes: tuple[ImageVolume, ...] = ()
    stop_signal: int = 15
    user: ContainerUser = ContainerUser()
    pid: int = 0
    pid_start_time: int = 0
    monitor_pid: int = 0
    monitor_start_time: int = 0
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    runtime_released_at: int = 0
    resources: bytes = b""
    restored: bool = False
    restored_from: str = ""
    update_undo: dict[str, str] = {}
    update_annotations: dict[str, str] = {}


class Container:
    """A container as the verbs see it: its record and what follows from it."""

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.starting = False
        """Whether the runtime starts it this moment: an end seen now is the end of something that ran."""

    @property
    def id(self) -> str:
        return self.record.id

    @cached_property
    def config(self) -> pb.ContainerConfig:
        """The request's configuration. Shared: never change it."""
        return pb.ContainerConfig.FromString(self.record.config)

    @property
    def key(self) -> ContainerKey:
        return container_key(self.record.sandbox_id, self.config)

    @property
    def resources(self) -> pb.LinuxContainerResources:
        """The limits in force. Shared: never change it."""
        if not self.record.resources:
            return self.config.linux.resources
        return pb.LinuxContainerResources.FromString(self.record.resources)

    @property
    def state(self) -> pb.ContainerState.ValueType:
        record = self.record
        if record.finished_at:
            return pb.CONTAINER_EXITED
        if record.started_at:
            return pb.CONTAINER_RUNNING
        return pb.CONTAINER_CREATED if record.created_at else pb.CONTAINER_UNKNOWN

    @property
    def running(self) -> bool:
        return bool(self.record.started_at) and not self.record.finished_at

    @property
    def awaits_restore(self) -> bool:
        """Whether its processes are still CRIU's files: its start restores them."""
        return self.record.restored and not self.record.pid and not self.finished

    @property
    def finished(self) -> bool:
        return bool(self.record.finished_at)

    def uses_image(self, image_id: str) -> bool:
        """Whether it was made from the image, or mounts it."""
        return self.record.image_id == image_id or self.mounts_image(image_id)

    def mounts_image(self, image_id: str) -> bool:
        return any(volume.image_id == image_id for volume in self.record.image_volumes)

    @property
    def process(self) -> ProcessIdentity | None:
        """The container's first process, as it was recorded."""
        return ProcessIdentity(self.record.pid, self.record.pid_start_time) if self.record.pid else None

    @property
    def monitor(self) -> ProcessIdentity | None:
        record = self.record
        return ProcessIdentity(record.monitor_pid, record.monitor_start_time) if record.monitor_pid else None


def container_key(sandbox_id: str, config: pb.ContainerConfig) -> ContainerKey:
    """What makes a CreateContainer request the same as an earlier one: (sandbox, name, attempt)."""
    return (sandbox_id, config.metadata.name, config.metadata.attempt)


def steps(before: ContainerRecord, after: ContainerRecord) -> Iterator[Step]:
    """The steps that lie between two states of a record. A start that failed is no start."""
    if after.created_at and not before.created_at:
        yield Step.CREATED
    if after.started_at and not before.started_at and after.reason != START_ERROR:
        yield Step.STARTED
    if after.finished_at and not before.finished_at:
        yield Step.STOPPED


class Containers:
    """All containers, in memory and in the store. `hidden` are those whose CreateContainer has not finished.

    `changes` tells the steps of their lives, which follow from the facts: whoever stores a fact makes the event.
    """

    def __init__(self, store: Store) -> None:
        self._table = store.table("containers", ContainerRecord)
        self._containers: dict[str, Container] = {}
        self._by_key: dict[ContainerKey, str] = {}
        self._by_sandbox: dict[str, set[str]] = {}
        self._prefixes = PrefixIndex("container")
        self._latest = 0
        self.hidden: set[str] = set()
        self.changes: Changes[Container] = Changes()
        for record in sorted(self._table.values(), key=lambda record: record.reserved_at):
            self._load(record)

    def _load(self, record: ContainerRecord) -> None:
        container = Container(record)
        try:
            key = container.key
        except Exception as error:
            self._table.quarantine(record.id, f"container configuration can't be read: {error!r}")
            return
        self._containers[record.id] = container
        self._by_key[key] = record.id
        self._by_sandbox.setdefault(record.sandbox_id, set()).add(record.id)
        self._prefixes.add(record.id)
        self._latest = max(self._latest, record.created_at, record.reserved_at)

    def next_created_at(self) -> int:
        """Now, but later than every container before."""
        self._latest = max(time.time_ns(), self._latest + 1)
        return self._latest

    def add(self, record: ContainerRecord) -> Container:
        self._table.put(record.id, record)
        self._load(record)
        return self._containers[record.id]

    def update(self, container_id: str, **facts: object) -> Container:
        """Store changed facts; the container object stays the same one."""
        container = self._containers[container_id]
        record = msgspec.structs.replace(container.record, **facts)
        self._table.put(container_id, record)
        before, container.record = container.record, record
        if "config" in facts:
            container.__dict__.pop("config", None)
        for step in steps(before, record):
            self.changes.publish(step, container)
        return container

    def remove(self, container_id: str) -> None:
        container, seen = self._containers.get(container_id), container_id not in self.hidden
        self._table.delete(container_id)
        self._forget(container_id)
        if container is not None and seen:
            self.changes.publish(Step.DELETED, container)

    def quarantine(self, container_id: str, error: str) -> None:
        """Set a record aside that nobody can work with."""
        self._table.quarantine(container_id, error)
        self._forget(container_id)

    def _forget(self, container_id: str) -> None:
        container = self._containers.pop(container_id, None)
        self._prefixes.discard(container_id)
        self.hidden.discard(container_id)
        if container is None:
            return
        if self._by_key.get(container.key) == container_id:
            del self._by_key[container.key]
        siblings = self._by_sandbox.get(container.record.sandbox_id, set())
        siblings.discard(container_id)
        if not siblings:
            self._by_sandbox.pop(container.record.sandbox_id, None)

    def find(self, id_or_prefix: str) -> Container:
        """By id or unique prefix. Raises NotFound, AmbiguousId."""
        exact = self._containers.get(id_or_prefix)
        return exact if exact is not None else self._containers[self._prefixes.resolve(id_or_prefix)]

    def find_or_none(self, id_or_prefix: str) -> Container | None:
        try:
            return self.find(id_or_prefix)
        except NotFound:
            return None

    def __contains__(self, container_id: object) -> bool:
        return container_id in self._containers

    def by_key(self, key: ContainerKey) -> Container | None:
        found = self._by_key.get(key)
        return self._containers[found] if found else None

    def of_sandbox(self, sandbox_id: str) -> list[Container]:
        """A pod's containers, hidden ones included, oldest first."""
        found = [self._containers[i] for i in self._by_sandbox.get(sandbox_id, ())]
        return sorted(found, key=lambda container: container.record.reserved_at)

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._containers.values()))

    def visible(self) -> Iterator[Container]:
        """The containers a list may show."""
        return (container for container in list(self._containers.values()) if container.id not in self.hidden)

    def __len__(self) -> int:
        return len(self._containers)
