"""A pod's record: facts, and the state derived from them.

    record stored ──► namespaces, network, files ──► ready_at ──► stopped_at ──► record gone
         │                                              │
         └── died or failed before ready_at: NOTREADY, ─┘── another boot: NOTREADY,
             start-up or Stop/Remove take it down           nothing of it runs any more

The record is immutable; a verb stores a changed copy through `Sandboxes.update`. `config` keeps the request's
bytes, so that annotations and labels come back exactly as they were given.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property

import msgspec

from podwright.base.errors import NotFound
from podwright.base.ids import PrefixIndex
from podwright.base.lifecycle import Changes, Step
from podwright.container.spec.userns import pod_id_maps
from podwright.criapi import api_pb2 as pb
from podwright.linux.idmap import IdMaps
from podwright.network.base import NetworkResult
from podwright.state.boot import boot_id
from podwright.state.store import Store

SandboxKey = tuple[str, str, str, int]


class SandboxRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored of a pod. Times are nanoseconds since the epoch, 0 where it has not happened.

    `overhead`, `resources`: the pod's size where it is not the request's: since an update, or by its handler.
    `sandbox_container`: its handler wants one. `ended_because`: why the pod is not ready though nobody stopped it.
    """

    id: str
    config: bytes
    handler: str
    created_at: int
    boot: str
    version: int = 1
    cgroup_parent: str = ""
    made_cgroups: tuple[str, ...] = ()
    hostname: str = ""
    pinned: tuple[str, ...] = ()
    selinux_level: str = ""
    network_wanted: bool = False
    network_asked_at: int = 0
    network: NetworkResult | None = None
    network_released_at: int = 0
    pause_pid: int = 0
    pause_start_time: int = 0
    sandbox_container: bool = False
    ready_at: int = 0
    stopped_at: int = 0
    ended_because: str = ""
    overhead: bytes | None = None
    resources: bytes | None = None


class Sandbox:
    """A pod as the verbs see it: its record and what follows from it."""

    def __init__(self, record: SandboxRecord) -> None:
        self.record = record

    @property
    def id(self) -> str:
        return self.record.id

    @cached_property
    def config(self) -> pb.PodSandboxConfig:
        """The request's configuration. Shared: never change it."""
        return pb.PodSandboxConfig.FromString(self.record.config)

    @property
    def key(self) -> SandboxKey:
        return sandbox_key(self.config)

    @property
    def overhead(self) -> pb.LinuxContainerResources:
        """What the pod costs beside its containers, as of now."""
        stored = self.record.overhead
        return self.config.linux.overhead if stored is None else pb.LinuxContainerResources.FromString(stored)

    @property
    def resources(self) -> pb.LinuxContainerResources:
        """The limits of its containers together, as of now."""
        stored = self.record.resources
        return self.config.linux.resources if stored is None else pb.LinuxContainerResources.FromString(stored)

    @property
    def ready(self) -> bool:
        """READY: came up, was not stopped, and the machine has not rebooted since."""
        record = self.record
        return bool(record.ready_at) and not record.stopped_at and record.boot == boot_id()

    @property
    def namespace_options(self) -> pb.NamespaceOption:
        return self.config.linux.security_context.namespace_options

    @cached_property
    def id_maps(self) -> IdMaps | None:
        """The maps of the pod's own user namespace; None for a pod in the host's."""
        return pod_id_maps(self.namespace_options)

    @property
    def host_network(self) -> bool:
        return self.namespace_options.network == pb.NODE

    @property
    def host_ipc(self) -> bool:
        return self.namespace_options.ipc == pb.NODE

    @property
    def ips(self) -> tuple[str, ...]:
        """Addresses in the order CNI gave them; empty on the host's network."""
        return tuple(self.record.network.ips) if self.record.network else ()


def sandbox_key(config: pb.PodSandboxConfig) -> SandboxKey:
    """What makes a RunPodSandbox request the same as an earlier one: (name, namespace, uid, attempt)."""
    metadata = config.metadata
    return (metadata.name, metadata.namespace, metadata.uid, metadata.attempt)


def steps(before: SandboxRecord, after: SandboxRecord) -> Iterator[Step]:
    """The steps that lie between two states of a record. A pod is there when it is ready, not before."""
    if after.ready_at and not before.ready_at:
        yield from (Step.CREATED, Step.STARTED)
    if after.stopped_at and not before.stopped_at:
        yield Step.STOPPED


class Sandboxes:
    """All pods, in memory and in the store. `hidden` are those that a running RunPodSandbox has not finished.

    `changes` tells the steps of their lives, which follow from the facts: whoever stores a fact makes the event.
    """

    def __init__(self, store: Store) -> None:
        self._table = store.table("sandboxes", SandboxRecord)
        self._sandboxes: dict[str, Sandbox] = {}
        self._by_key: dict[SandboxKey, str] = {}
        self._prefixes = PrefixIndex("pod sandbox")
        self._latest = 0
        self.hidden: set[str] = set()
        self.changes: Changes[Sandbox] = Changes()
        for record in sorted(self._table.values(), key=lambda record: record.created_at):
            self._load(record)

    def _load(self, record: SandboxRecord) -> None:
        sandbox = Sandbox(record)
        try:
            key = sandbox.key
        except Exception as error:
            self._table.quarantine(record.id, f"pod configuration can't be read: {error!r}")
            return
        self._sandboxes[record.id] = sandbox
        self._by_key[key] = record.id
        self._prefixes.add(record.id)
        self._latest = max(self._latest, record.created_at)

    def next_created_at(self) -> int:
        """Now, but later than every pod before: the kubelet takes the youngest as *the* pod, also when clocks step."""
        self._latest = max(time.time_ns(), self._latest + 1)
        return self._latest

    def add(self, record: SandboxRecord) -> Sandbox:
        self._table.put(record.id, record)
        self._load(record)
        return self._sandboxes[record.id]

    def update(self, sandbox_id: str, **facts: object) -> Sandbox:
        """Store changed facts; the sandbox object stays the same one."""
        sandbox = self._sandboxes[sandbox_id]
        record = msgspec.structs.replace(sandbox.record, **facts)
        self._table.put(sandbox_id, record)
        before, sandbox.record = sandbox.record, record
        for step in steps(before, record):
            self.changes.publish(step, sandbox)
        return sandbox

    def remove(self, sandbox_id: str) -> None:
        seen = sandbox_id not in self.hidden
        self._table.delete(sandbox_id)
        sandbox = self._sandboxes.pop(sandbox_id, None)
        self._prefixes.discard(sandbox_id)
        self.hidden.discard(sandbox_id)
        if sandbox is not None and self._by_key.get(sandbox.key) == sandbox_id:
            del self._by_key[sandbox.key]
        if sandbox is not None and seen:
            self.changes.publish(Step.DELETED, sandbox)

    def quarantine(self, sandbox_id: str, error: str) -> None:
        """Set a record aside that nobody can work with."""
        self._table.quarantine(sandbox_id, error)
        self._sandboxes.pop(sandbox_id, None)
        self._prefixes.discard(sandbox_id)

    def find(self, id_or_prefix: str) -> Sandbox:
        """By id or unique prefix. Raises NotFound, AmbiguousId."""
        exact = self._sandboxes.get(id_or_prefix)
        return exact if exact is not None else self._sandboxes[self._prefixes.resolve(id_or_prefix)]

    def find_or_none(self, id_or_prefix: str) -> Sandbox | None:
        try:
            return self.find(id_or_prefix)
        except NotFound:
            return None

    def __contains__(self, sandbox_id: object) -> bool:
        return sandbox_id in self._sandboxes

    def by_key(self, key: SandboxKey) -> Sandbox | None:
        found = self._by_key.get(key)
        return self._sandboxes[found] if found else None

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(list(self._sandboxes.values()))

    def visible(self) -> Iterator[Sandbox]:
        """The pods a list may show."""
        return (sandbox for sandbox in list(self._sandboxes.values()) if sandbox.id not in self.hidden)

    def __len__(self) -> int:
        return len(self._sandboxes)
