"""Statistics as `events` prints them: runc's names, types/events.go. Times in nanoseconds, sizes in bytes."""

from __future__ import annotations

import msgspec


class CpuUsage(msgspec.Struct):
    total: int = 0
    kernel: int = 0
    user: int = 0


class Throttling(msgspec.Struct, rename="camel"):
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class Cpu(msgspec.Struct):
    usage: CpuUsage = msgspec.field(default_factory=CpuUsage)
    throttling: Throttling = msgspec.field(default_factory=Throttling)


class MemoryEntry(msgspec.Struct):
    """`limit` 0: none."""

    limit: int = 0
    usage: int = 0
    max: int = 0
    failcnt: int = 0


class Memory(msgspec.Struct):
    """`raw` is memory.stat."""

    cache: int = 0
    usage: MemoryEntry = msgspec.field(default_factory=MemoryEntry)
    swap: MemoryEntry = msgspec.field(default_factory=MemoryEntry)
    raw: dict[str, int] = {}


class Pids(msgspec.Struct):
    """`limit` 0: none."""

    current: int = 0
    limit: int = 0


class Stats(msgspec.Struct):
    """The member `data` of an event of the type `stats`."""

    cpu: Cpu = msgspec.field(default_factory=Cpu)
    memory: Memory = msgspec.field(default_factory=Memory)
    pids: Pids = msgspec.field(default_factory=Pids)
