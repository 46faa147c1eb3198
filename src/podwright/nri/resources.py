"""Limits: NRI's words ↔ OCI's, and the merging of what several plugins want. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from google.protobuf.message import Message

from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.owners import Owners
from podwright.oci.runtime_spec import Cpu, DeviceRule, HugepageLimit, LinuxResources, Memory, Pids

P = TypeVar("P", Memory, Cpu)

_MEMORY = {
    "limit": pb.MemLimit, "reservation": pb.MemReservation, "swap": pb.MemSwapLimit, "kernel": pb.MemKernelLimit,
    "kernel_tcp": pb.MemTCPLimit, "swappiness": pb.MemSwappiness, "disable_oom_killer": pb.MemDisableOomKiller,
    "use_hierarchy": pb.MemUseHierarchy,
}  # fmt: skip
_CPU = {
    "shares": pb.CPUShares, "quota": pb.CPUQuota, "period": pb.CPUPeriod, "realtime_runtime": pb.CPURealtimeRuntime,
    "realtime_period": pb.CPURealtimePeriod, "cpus": pb.CPUSetCPUs, "mems": pb.CPUSetMems,
}  # fmt: skip


def merge(wanted: pb.LinuxResources, into: pb.LinuxResources, owners: Owners, container_id: str, plugin: str) -> None:
    """What one plugin wants, over what there is. Raises Refused, and `into` may be half merged then."""
    for name, part, fields in (("memory", wanted.memory, _MEMORY), ("cpu", wanted.cpu, _CPU)):
        for key, field in fields.items():
            if is_set(part, key):
                owners.claim(container_id, field, plugin)
                copy(part, getattr(into, name), key)
    for limit in wanted.hugepage_limits:
        owners.claim(container_id, pb.HugepageLimits, plugin, limit.page_size)
        _replace(into.hugepage_limits, limit)
    for key, value in wanted.unified.items():
        owners.claim(container_id, pb.CgroupsUnified, plugin, key)
        into.unified[key] = value
    for key, field in (("blockio_class", pb.BlockioClass), ("rdt_class", pb.RdtClass), ("pids", pb.PidsLimit)):
        if is_set(wanted, key):
            owners.claim(container_id, field, plugin)
            copy(wanted, into, key)
    into.devices.extend(wanted.devices)


def _replace(limits: Any, limit: pb.HugepageLimit) -> None:
    kept = [old for old in limits if old.page_size != limit.page_size]
    del limits[:]
    limits.extend([*kept, limit])


def is_set(message: Message, name: str) -> bool:
    """Whether a member says something: a message that is there, a word that isn't empty."""
    if message.DESCRIPTOR.fields_by_name[name].message_type is not None:
        return message.HasField(name)
    return bool(getattr(message, name))


def copy(source: Message, target: Message, name: str) -> None:
    """Copy one member."""
    if source.DESCRIPTOR.fields_by_name[name].message_type is not None:
        getattr(target, name).CopyFrom(getattr(source, name))
    else:
        setattr(target, name, getattr(source, name))


def to_oci(given: pb.LinuxResources) -> LinuxResources:
    """What is set, and nothing else. Raises Refused for classes, which need a configuration nobody has given."""
    if given.blockio_class.value:
        raise Refused(f"block I/O class {given.blockio_class.value!r}: this runtime has no block I/O classes")
    memory = Memory(**{name: _value(given.memory, name) for name in _MEMORY})
    cpu = Cpu(**{name: _value(given.cpu, name) for name in _CPU})
    return LinuxResources(
        memory=None if memory == Memory() else memory,
        cpu=None if cpu == Cpu() else cpu,
        pids=Pids(limit=given.pids.limit) if given.HasField("pids") else None,
        hugepage_limits=[HugepageLimit(page_size=h.page_size, limit=h.limit) for h in given.hugepage_limits],
        unified=dict(given.unified),
        devices=[
            DeviceRule(
                allow=rule.allow, access=rule.access, type=rule.type, major=_value(rule, "major"),
                minor=_value(rule, "minor"),
            )
            for rule in given.devices
        ],
    )  # fmt: skip


def _value(message: Message, name: str) -> Any:
    """An optional's value or None; a word as it is."""
    member = getattr(message, name)
    if isinstance(member, str):
        return member
    return member.value if message.HasField(name) else None


def from_oci(given: LinuxResources | None) -> pb.LinuxResources:
    """Limits as plugins see them."""
    message = pb.LinuxResources()
    if given is None:
        return message
    for part, target, names in ((given.memory, message.memory, _MEMORY), (given.cpu, message.cpu, _CPU)):
        for name in names if part is not None else ():
            _set(target, name, getattr(part, name))
    if given.pids is not None:
        message.pids.limit = given.pids.limit
    for limit in given.hugepage_limits:
        message.hugepage_limits.add(page_size=limit.page_size, limit=limit.limit)
    message.unified.update(given.unified)
    for rule in given.devices:
        added = message.devices.add(allow=rule.allow, type=rule.type, access=rule.access)
        _set(added, "major", rule.major)
        _set(added, "minor", rule.minor)
    return message


def _set(message: Message, name: str, value: object) -> None:
    if isinstance(value, str):
        setattr(message, name, value)
    elif value is not None:
        getattr(message, name).value = value


def overlay(base: LinuxResources, over: LinuxResources) -> LinuxResources:
    """`base` with what `over` sets. A memory limit without a word on swap takes the swap limit along (no swap), where
    the container had one: memory plus swap below memory is an error in the kernel."""
    memory = _over(base.memory or Memory(), over.memory)
    if over.memory and over.memory.limit and over.memory.swap is None and memory.swap is not None:
        memory.swap = over.memory.limit
    cpu = _over(base.cpu or Cpu(), over.cpu)
    pages = {limit.page_size: limit for limit in [*base.hugepage_limits, *over.hugepage_limits]}
    return LinuxResources(
        memory=None if memory == Memory() else memory,
        cpu=None if cpu == Cpu() else cpu,
        pids=over.pids or base.pids,
        hugepage_limits=list(pages.values()),
        unified=base.unified | over.unified,
        devices=[*base.devices, *over.devices],
    )


def _over(base: P, over: P | None) -> P:
    """A copy of one part with what is set in the other."""
    if over is None:
        return msgspec.structs.replace(base)
    given = {name: value for name, value in msgspec.structs.asdict(over).items() if value not in (None, "")}
    return msgspec.structs.replace(base, **given)
