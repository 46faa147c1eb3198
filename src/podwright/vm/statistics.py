"""What the agent tells of a container, as runc's `events` has it. Pure."""

from __future__ import annotations

from podwright.oci.events import Cpu, CpuUsage, Memory, MemoryEntry, Pids, Stats, Throttling
from podwright.vm.control import Message

_US = 1000


def as_runc_has_them(told: Message) -> Stats:
    """Microseconds become nanoseconds."""
    number = {key: value for key, value in told.items() if isinstance(value, int)}.get

    def of(key: str) -> int:
        return number(key, 0) or 0

    return Stats(
        cpu=Cpu(
            usage=CpuUsage(
                total=of("cpu_usage_us") * _US, kernel=of("cpu_system_us") * _US, user=of("cpu_user_us") * _US
            ),
            throttling=Throttling(
                periods=of("cpu_periods"), throttled_periods=of("cpu_throttled_periods"),
                throttled_time=of("cpu_throttled_us") * _US,
            ),
        ),
        memory=Memory(
            cache=of("memory_file_bytes"),
            usage=MemoryEntry(
                limit=of("memory_limit_bytes"), usage=of("memory_bytes"), max=of("memory_peak_bytes"),
                failcnt=of("oom_kills"),
            ),
            swap=MemoryEntry(usage=of("swap_bytes")),
            raw={
                "anon": of("memory_anon_bytes"), "file": of("memory_file_bytes"),
                "inactive_file": of("memory_inactive_file_bytes"), "pgfault": of("memory_page_faults"),
                "pgmajfault": of("memory_major_page_faults"),
            },
        ),
        pids=Pids(current=of("pids"), limit=of("pids_limit")),
    )  # fmt: skip
