"""The adjustments of all plugins to one container, merged; each plugin sees what those before it have done. Pure.

Things that have a name (mounts, variables, devices …) may be added by one plugin each, and removed by any; who removes
one first may also set it anew. Single values belong to the first who sets them. Hooks add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.owners import REMOVAL, Owners, split_removal
from podwright.nri.resources import copy, is_set, merge
from podwright.nri.updates import Updates

HOOKS = ("prestart", "create_runtime", "create_container", "start_container", "poststart", "poststop")
_VALUES = {
    "cgroups_path": pb.CgroupsPath, "oom_score_adj": pb.OomScoreAdj, "io_priority": pb.IoPriority,
    "seccomp_policy": pb.SeccompPolicy, "scheduler": pb.LinuxSched, "memory_policy": pb.MemoryPolicy,
}  # fmt: skip
_RDT = {"clos_id": pb.RdtClosID, "schemata": pb.RdtSchemata, "enable_monitoring": pb.RdtEnableMonitoring}


class Adjustments:
    """What has been asked for so far. `request` changes with it, for the next plugin to see."""

    def __init__(self, request: pb.CreateContainerRequest) -> None:
        self.request = request
        self.owners = Owners()
        self.updates = Updates(self.owners, creating=request.container.id)
        self.total = pb.ContainerAdjustment()

    def apply(self, plugin: str, answer: pb.CreateContainerResponse) -> None:
        """Add one plugin's answer. Raises Refused for a contradiction."""
        adjust, container = answer.adjust, self.request.container
        self._named_map(plugin, pb.Annotations, adjust.annotations, self.total.annotations, container.annotations)
        self._named_list(plugin, pb.Mounts, adjust.mounts, self.total.mounts, container.mounts, "destination")
        self._environment(plugin, adjust.env)
        self._arguments(plugin, list(adjust.args))
        self._hooks(plugin, adjust.hooks)
        self._linux(plugin, adjust.linux)
        for limit in adjust.rlimits:
            self._claim(pb.Rlimits, plugin, limit.type)
            self.total.rlimits.append(limit)
            _remove(container.rlimits, "type", limit.type)
            container.rlimits.append(limit)
        for device in adjust.CDI_devices:
            self._claim(pb.CdiDevices, plugin, device.name)
            self.total.CDI_devices.append(device)
        self.updates.apply(plugin, answer.update, answer.evict)

    def _linux(self, plugin: str, linux: pb.LinuxContainerAdjustment) -> None:
        total, container = self.total.linux, self.request.container.linux
        self._named_list(plugin, pb.Devices, linux.devices, total.devices, container.devices, "path")
        self._namespaces(plugin, linux.namespaces)
        self._named_map(plugin, pb.Sysctl, linux.sysctl, total.sysctl, container.sysctl)
        self._named_map(plugin, pb.LinuxNetDevices, linux.net_devices, total.net_devices, container.net_devices)
        merge(linux.resources, total.resources, self.owners, self._id, plugin)
        merge(linux.resources, container.resources, Owners(), self._id, plugin)
        for name, field in _VALUES.items():
            if is_set(linux, name):
                self._claim(field, plugin)
                copy(linux, total, name)
                if name in container.DESCRIPTOR.fields_by_name:
                    copy(linux, container, name)
        self._rdt(plugin, linux.rdt)

    @property
    def _id(self) -> str:
        return self.request.container.id

    def _claim(self, field: pb.Field.ValueType, plugin: str, key: str | None = None) -> None:
        self.owners.claim(self._id, field, plugin, key)

    def _named_map(
        self, plugin: str, field: pb.Field.ValueType, wanted: Mapping[str, Any], total: Any, seen: Any
    ) -> None:
        """A map: `total` collects, `seen` is what the next plugin sees."""
        for key, added, value in _removals_first(wanted.items()):
            total.pop(key, None)
            total.pop(REMOVAL + key, None)
            seen.pop(key, None)
            if added:
                self._claim(field, plugin, key)
                _put(total, key, value)
                _put(seen, key, value)
            else:
                self.owners.release(self._id, field, plugin, key)
                _put(total, REMOVAL + key, type(value)())

    def _named_list(
        self, plugin: str, field: pb.Field.ValueType, wanted: Iterable[Any], total: Any, seen: Any, name: str
    ) -> None:
        """A list of messages with a member `name` that tells them apart."""
        for key, added, item in _removals_first((getattr(item, name), item) for item in wanted):
            _remove(total, name, key)
            _remove(seen, name, key)
            if added:
                self._claim(field, plugin, key)
                seen.append(item)
            else:
                self.owners.release(self._id, field, plugin, key)
            total.append(item)

    def _environment(self, plugin: str, wanted: Iterable[pb.KeyValue]) -> None:
        seen = [pb.KeyValue(key=key, value=value) for key, _, value in (e.partition("=") for e in self._env)]
        kept = pb.ContainerAdjustment(env=seen)
        self._named_list(plugin, pb.Env, wanted, self.total.env, kept.env, "key")
        self._env[:] = [f"{entry.key}={entry.value}" for entry in kept.env]

    @property
    def _env(self) -> Any:
        return self.request.container.env

    def _arguments(self, plugin: str, wanted: list[str]) -> None:
        if wanted and wanted[0] == "":
            self.owners.release(self._id, pb.Args, plugin)
            wanted = wanted[1:]
        if wanted:
            self._claim(pb.Args, plugin)
            self.total.args[:] = self.request.container.args[:] = wanted

    def _hooks(self, plugin: str, wanted: pb.Hooks) -> None:
        if any(getattr(wanted, name) for name in HOOKS):
            self.owners.join(self._id, pb.OciHooks, plugin)
        self.total.hooks.MergeFrom(wanted)
        self.request.container.hooks.MergeFrom(wanted)

    def _namespaces(self, plugin: str, wanted: Iterable[pb.LinuxNamespace]) -> None:
        """A removal is a claim here: the host's namespace is as much of a choice as another."""
        seen = self.request.container.linux.namespaces
        for namespace in wanted:
            kind, removed = split_removal(namespace.type)
            self._claim(pb.Namespace, plugin, kind)
            _remove(seen, "type", kind)
            self.total.linux.namespaces.append(namespace)
            if not removed:
                seen.append(namespace)

    def _rdt(self, plugin: str, wanted: pb.LinuxRdt) -> None:
        if wanted.remove:
            for field in _RDT.values():
                self.owners.release(self._id, field, plugin)
            self.total.linux.rdt.CopyFrom(pb.LinuxRdt(remove=True))
        for name, field in _RDT.items():
            if wanted.HasField(name):  # type: ignore[arg-type]
                self._claim(field, plugin)
                copy(wanted, self.total.linux.rdt, name)
                copy(wanted, self.request.container.linux.rdt, name)


def _removals_first(entries: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, bool, Any]]:
    """(bare key, whether it is added, value): what is removed and added by the same plugin is replaced."""
    entries = list(entries)
    for key, value in entries:
        if not key or key == REMOVAL:
            raise Refused("an NRI plugin wants to adjust something without a name")
        if key.startswith(REMOVAL):
            yield key[1:], False, value
    for key, value in entries:
        if not key.startswith(REMOVAL):
            yield key, True, value


def _remove(items: Any, name: str, key: str) -> None:
    """Take out what is called `key`, and marks of its removal."""
    kept = [item for item in items if split_removal(getattr(item, name))[0] != key]
    if len(kept) != len(items):
        del items[:]
        items.extend(kept)


def _put(target: Any, key: str, value: Any) -> None:
    """Set an entry of a protobuf map, of words or of messages."""
    if isinstance(value, Message):
        target[key].CopyFrom(value)
    else:
        target[key] = value
