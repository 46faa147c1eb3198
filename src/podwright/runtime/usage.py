"""What a runtime whose containers have another kernel tells of them: `events --stats`, in runc's form.

runc, types/events.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from podwright.linux.process import run
from podwright.oci.events import Cpu
from podwright.runtime.base import RuntimeFailed, Usage


class _MemoryEntry(msgspec.Struct):
    usage: int = 0
    limit: int = 0


class _Memory(msgspec.Struct):
    usage: _MemoryEntry = msgspec.field(default_factory=_MemoryEntry)
    raw: dict[str, int] = {}


class _Stats(msgspec.Struct):
    cpu: Cpu = msgspec.field(default_factory=Cpu)
    memory: _Memory = msgspec.field(default_factory=_Memory)


class _Event(msgspec.Struct):
    """What matters here of an event."""

    data: _Stats


async def read_usage(runtime: Sequence[str], container_id: str, *, timeout_s: float) -> Usage:
    """`runtime` is the program with its global arguments. Raises ProcessFailed, RuntimeFailed."""
    done = await run([*runtime, "events", "--stats", container_id], timeout_s=timeout_s)
    try:
        data = msgspec.json.decode(done.stdout, type=_Event).data
    except msgspec.MsgspecError as error:
        raise RuntimeFailed(
            "events", container_id, f"its answer can't be read: {error}", program=Path(runtime[0]).name
        ) from error
    memory, cpu, throttling = data.memory, data.cpu.usage, data.cpu.throttling
    return Usage(
        cpu_ns=cpu.total, memory_bytes=memory.usage.usage,
        inactive_file_bytes=memory.raw.get("inactive_file", 0), memory_limit_bytes=memory.usage.limit,
        cpu_user_ns=cpu.user, cpu_system_ns=cpu.kernel, periods=throttling.periods,
        throttled_periods=throttling.throttled_periods, throttled_ns=throttling.throttled_time,
    )  # fmt: skip
