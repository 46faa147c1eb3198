"""What a cgroup driver offers, and the numbers it reads.

Three words for one thing, so that they don't mix: a *parent* is what the kubelet calls a pod's cgroup, in its own
syntax (`/kubepods/burstable/podX`, or `kubepods-burstable-podX.slice`); a *cgroups path* is what the OCI runtime
takes for a container (`linux.cgroupsPath`); a *path* is what the kernel calls it, below the root of a hierarchy
(`/kubepods/burstable/podX/ID`). `sandbox/` makes and removes parents, `container/` takes cgroups paths, kills and
reads counters by path. Containers' own cgroups are made by the OCI runtime, never here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from podwright.cgroup.details import CgroupDetails
from podwright.oci.runtime_spec import LinuxResources

Version = Literal["v1", "v2", "hybrid"]
Naming = Literal["cgroupfs", "systemd"]


@dataclass(frozen=True)
class Settings:
    """`[cgroup]`"""

    driver: Literal["auto", "cgroupfs", "systemd"] = field(
        default="auto",
        metadata={
            "help": "Who makes cgroups: this program (cgroupfs) or systemd; the kubelet asks for it and follows.\n"
            "auto: systemd where it is the init process and cgroup v2 is used, else cgroupfs."
        },
    )
    default_parent: str = field(
        default="/podwright",
        metadata={
            "help": "Parent of pods that ask for none; with systemd's naming a .slice, else its name is made one."
        },
    )


@dataclass(frozen=True)
class Limits:
    """Limits for a cgroup; None leaves one as it is. Bytes, microseconds; `cpu_quota_us` -1: no limit.

    `hugepages`: bytes by page size, which is spelled as the kernel does (2MB, 1GB).
    """

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    hugepages: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pressure:
    """One line of a PSI file: averages in percent, total in microseconds. kernel: accounting/psi.rst."""

    avg10: float
    avg60: float
    avg300: float
    total_us: int


@dataclass(frozen=True)
class PressureStats:
    """A PSI file. `full` is None where the kernel gives none."""

    some: Pressure
    full: Pressure | None = None


@dataclass(frozen=True)
class CpuStats:
    """CPU time in nanoseconds since the cgroup was made."""

    usage_ns: int = 0
    pressure: PressureStats | None = None


@dataclass(frozen=True)
class SwapStats:
    """Bytes. `limit_bytes` is swap alone, memory not counted; None: no limit, 0: no swap may be used."""

    usage_bytes: int = 0
    limit_bytes: int | None = None

    @property
    def available_bytes(self) -> int | None:
        """What is left below the limit; None where there is none."""
        return None if self.limit_bytes is None else max(0, self.limit_bytes - self.usage_bytes)


@dataclass(frozen=True)
class MemoryStats:
    """Bytes. `working_set_bytes` is usage less inactive file pages, as the kubelet counts. `limit_bytes` 0: none.

    `swap` is None where the kernel doesn't account for it.
    """

    usage_bytes: int = 0
    working_set_bytes: int = 0
    rss_bytes: int = 0
    cache_bytes: int = 0
    mapped_file_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    limit_bytes: int = 0
    swap: SwapStats | None = None
    pressure: PressureStats | None = None

    @property
    def available_bytes(self) -> int:
        """What is left below the limit; 0 where there is no limit."""
        return max(0, self.limit_bytes - self.working_set_bytes) if self.limit_bytes else 0


@dataclass(frozen=True)
class CgroupStats:
    """The counters of one cgroup that are polled, read at `timestamp_ns` since the epoch.

    What has no controller here is None. What is asked for less often is in `details`.
    """

    timestamp_ns: int
    cpu: CpuStats | None = None
    memory: MemoryStats | None = None
    io_pressure: PressureStats | None = None


class Kernel(Protocol):
    """Cgroups as one kernel layout (v1.py, v2.py) keeps them; paths are the kernel's, below every hierarchy's root.

    Reading a cgroup that is gone gives nothing (no processes, no counters), never an error: containers end while
    they are looked at.
    """

    def directories(self, path: str) -> list[str]:
        """Where `path` is, or would be made, in each hierarchy."""

    def limiting_directory(self, path: str) -> str:
        """That of `directories` whose maker sizes the cgroup: there may be more, of hierarchies that limit nothing."""

    def prepare(self, directory: str) -> None:
        """Make a new cgroup directory usable for processes and children (cpuset, controllers)."""

    def set_limits(self, path: str, limits: Limits) -> None:
        """Write the limits. Raises InvalidArgument for a value the kernel refuses."""

    def limits_hugepages(self) -> bool:
        """Whether the kernel can limit huge pages; where it can't, a runtime fails on any such limit."""

    def limits_swap(self) -> bool:
        """Whether the kernel can limit swap (CONFIG_SWAP, and no swapaccount=0)."""

    def file(self, path: str, name: str) -> str:
        """Where the cgroup has its file `name` (cpu.shares, memory.max)."""

    def written_by(self, resources: LinuxResources) -> list[str]:
        """Names of the files that an update to these resources writes."""

    def as_resources(self, saved: Mapping[str, str]) -> LinuxResources:
        """Such files' contents in a runtime's words, as far as there are."""

    def processes(self, path: str) -> list[int]:
        """Pids in the cgroup and below it."""

    def kill(self, path: str) -> None:
        """SIGKILL all that is in the cgroup and below it now, once, frozen or not."""

    def set_frozen(self, path: str, *, frozen: bool) -> None:
        """Freeze or thaw the cgroup and all below it; the kernel finishes that a little later."""

    def oom_kills(self, path: str) -> int | None:
        """Processes killed for want of memory since the cgroup was made; None when it is gone. On v2 those of cgroups
        below it count as well, and stay counted when such a cgroup is gone."""

    def stats(self, path: str) -> CgroupStats | None:
        """The counters of the cgroup with all below it."""

    def details(self, path: str) -> CgroupDetails:
        """What metrics want beside that."""


class CgroupDriver(Protocol):
    """Cgroups by one naming, on one kernel layout.

    A pod's parent is made by the kubelet, or by us for clients that make none (crictl, play): what
    `missing_parents` lists is stored with the pod, then `create_parent` makes it, and `remove` takes it away when
    the pod goes, empty directories only: so a parent that somebody else fills or uses stays.
    """

    version: Version
    naming: Naming

    def pod_parent(self, asked: str, sandbox_id: str) -> str:
        """The parent to use for a pod that asked for `asked` ('': the default), in the syntax of `naming`.

        Raises InvalidArgument for what is no cgroup's name.
        """

    def container_path(self, parent: str, container_id: str) -> str:
        """The OCI `linux.cgroupsPath` of a container below `parent`."""

    def kernel_path(self, parent: str, container_id: str = "") -> str:
        """Where the kernel has the cgroup of `parent`, or of the container below it."""

    def path_of(self, pid: int) -> str:
        """Where the kernel has the cgroup that a process is in; '' when it is gone, and on v1, which has several."""

    def missing_parents(self, parent: str) -> tuple[str, ...]:
        """The directories that `create_parent` would make now, outermost first."""

    def create_parent(self, parent: str, limits: Limits | None = None) -> tuple[str, ...]:
        """Make what is missing of `parent` in all hierarchies. Returns the directories made, outermost first.

        `limits` are set on a cgroup that we made, never on the kubelet's.
        """

    def is_sized_by_maker(self, parent: str, made: Iterable[str]) -> bool:
        """Whether who made these directories is who sizes `parent`."""

    def remove(self, made: Iterable[str]) -> tuple[str, ...]:
        """Remove those of the directories `made` that are empty now. Returns those that are still in use."""

    def limits_hugepages(self) -> bool:
        """Whether huge pages can be limited here."""

    def limits_swap(self) -> bool:
        """Whether swap can be limited here."""

    def set_limits(self, path: str, limits: Limits) -> None:
        """Write limits to a cgroup's files. Raises InvalidArgument for what the kernel refuses or doesn't have."""

    def save(self, path: str, resources: LinuxResources) -> dict[str, str]:
        """What is in the files that an update to `resources` writes, by name: what `restore` takes to undo it."""

    def as_resources(self, saved: Mapping[str, str]) -> LinuxResources:
        """What was saved, in a runtime's words, as far as there are: for systemd, which keeps limits of its own."""

    def restore(self, path: str, saved: Mapping[str, str]) -> None:
        """Write saved contents back. A cgroup that is gone: success. Raises InvalidArgument for a refusal."""

    async def discard_parent(self, parent: str, sandbox_id: str) -> None:
        """Have systemd forget the slice of a pod that asked for no parent. Anything else, or one that is gone: success.

        Raises ProcessFailed when systemd refuses.
        """

    async def kill_all(self, path: str, *, timeout_s: float = 10.0) -> None:
        """SIGKILL every process in the cgroup and below it until there is none. Raises DeadlineExceeded."""

    async def discard(self, path: str) -> None:
        """Kill what is in the cgroup, and remove it: what a runtime left that was killed while it created. Absent:
        success. Raises DeadlineExceeded."""

    def processes(self, path: str) -> list[int]:
        """Pids in the cgroup and below it. Empty when it is gone."""

    def set_frozen(self, path: str, *, frozen: bool) -> None:
        """Freeze or thaw the cgroup and all below it."""

    def oom_kills(self, path: str) -> int | None:
        """See `Kernel`."""

    def stats(self, path: str) -> CgroupStats | None:
        """The counters of the cgroup with all below it; None when it is gone."""

    def details(self, path: str) -> CgroupDetails:
        """What metrics want beside that; nothing but zeros when it is gone."""
