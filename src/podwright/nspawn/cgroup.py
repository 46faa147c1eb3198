"""A container's cgroup: where `linux.cgroupsPath` says, in every hierarchy, made and removed here."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable
from pathlib import Path

from podwright.base.errors import DeadlineExceeded, InvalidArgument, Unimplemented
from podwright.cgroup import files, limits
from podwright.cgroup.base import Kernel
from podwright.cgroup.detect import Hierarchies, hierarchies
from podwright.cgroup.naming import check_path
from podwright.cgroup.v1 import CgroupV1
from podwright.cgroup.v2 import CgroupV2
from podwright.oci import events as told
from podwright.oci.runtime_spec import LinuxResources

_DEFAULT_PARENT = "/podwright-nspawn"
_END_TIMEOUT_S, _END_POLL_MS = 10.0, 5


def path_for(cgroups_path: str, container_id: str) -> str:
    """Raises Unimplemented for systemd's syntax, InvalidArgument for no path."""
    if cgroups_path.count(":") == 2:
        raise Unimplemented("linux.cgroupsPath: cgroups made by systemd are not supported by podwright-nspawn")
    return check_path(cgroups_path or f"{_DEFAULT_PARENT}/{container_id}")


class Cgroup:
    """The cgroup at `path`, as the kernel names it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.hierarchies: Hierarchies = hierarchies()
        found = self.hierarchies
        self.kernel: Kernel = (
            CgroupV2(found.unified) if found.version == "v2" else CgroupV1(found.controllers, found.unified)
        )

    def make(self) -> None:
        """What is missing of it and above it."""
        parts = self.path.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            for directory in self.kernel.directories("/" + "/".join(parts[:count])):
                try:
                    Path(directory).mkdir(mode=0o755)
                except FileExistsError:
                    continue
                self.kernel.prepare(directory)

    def files_to_join(self, pid: int | None = None) -> list[str]:
        """cgroup.procs of every hierarchy; with `pid` of where that process is, for nspawn makes cgroups of its own."""
        if pid is not None and self.hierarchies.version == "v2":
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            path = next(line for line in lines if line.startswith("0::")).removeprefix("0::")
            return [f"{self.hierarchies.unified}{path}/cgroup.procs"]
        return [f"{directory}/cgroup.procs" for directory in self.kernel.directories(self.path)]

    def limit(self, resources: LinuxResources) -> None:
        """Write the limits. Raises InvalidArgument for what the kernel refuses or hasn't got."""
        wanted = limits.v2(resources) if self.hierarchies.version == "v2" else limits.v1(resources)
        while wanted:
            refused = dict[str, InvalidArgument]()
            for name, content in wanted.items():
                try:
                    files.write(self.kernel.file(self.path, name), content)
                except InvalidArgument as error:
                    refused[name] = error
                except FileNotFoundError:
                    if content not in ("max", "-1"):
                        raise InvalidArgument(f"linux.resources: this kernel has no {name}") from None
            if len(refused) == len(wanted):
                raise next(iter(refused.values()))
            wanted = {name: wanted[name] for name in refused}

    def limit_devices(self, resources: LinuxResources) -> None:
        """Which devices may be used; v1 only."""
        if self.hierarchies.version != "v2":
            for name, content in limits.devices_v1(resources.devices):
                files.write(self.kernel.file(self.path, name), content)

    @property
    def limits_devices(self) -> bool:
        """Whether `limit_devices` has an effect: cgroup v2 would want a program for the kernel."""
        return self.hierarchies.version != "v2"

    def end(self) -> None:
        """Kill all that is in it, wait for the end of that, and remove it. Raises DeadlineExceeded."""
        deadline = time.monotonic() + _END_TIMEOUT_S
        while pids := self.kernel.processes(self.path):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"processes {pids[:10]} of cgroup {self.path} did not die")
            self.kernel.kill(self.path)
            select.select([], [], [], _END_POLL_MS / 1000)
        for top in self.kernel.directories(self.path):
            for directory in reversed(files.below(top)):
                _remove(directory, deadline)

    def frozen(self) -> bool:
        if self.hierarchies.version == "v2":
            return (files.read(self.kernel.file(self.path, "cgroup.freeze")) or b"").strip() == b"1"
        return (files.read(self.kernel.file(self.path, "freezer.state")) or b"").strip() in (b"FROZEN", b"FREEZING")

    def freeze(self) -> None:
        """Freeze all that is in it, and wait for that. Raises DeadlineExceeded; it is thawed again then."""
        self.kernel.set_frozen(self.path, frozen=True)
        deadline = time.monotonic() + _END_TIMEOUT_S
        while not self._all_frozen():
            if time.monotonic() > deadline:
                self.kernel.set_frozen(self.path, frozen=False)
                raise DeadlineExceeded(f"cgroup {self.path} can't be frozen: a process in it does not stop")
            select.select([], [], [], _END_POLL_MS / 1000)

    def _all_frozen(self) -> bool:
        if self.hierarchies.version == "v2":
            events = files.read_table(self.kernel.file(self.path, "cgroup.events")) or {}
            return events.get(b"frozen") == 1
        return (files.read(self.kernel.file(self.path, "freezer.state")) or b"").strip() == b"FROZEN"

    def stats(self) -> told.Stats:
        """As `events` tells them."""
        found, details = self.kernel.stats(self.path), self.kernel.details(self.path)
        answer = told.Stats()
        if found is not None and found.cpu is not None:
            answer.cpu.usage.total = found.cpu.usage_ns
        if (cpu := details.cpu) is not None:
            answer.cpu.usage.user, answer.cpu.usage.kernel = cpu.user_ns, cpu.system_ns
            answer.cpu.throttling = told.Throttling(cpu.periods, cpu.throttled_periods, cpu.throttled_ns)
        if found is not None and (memory := found.memory) is not None:
            usage = told.MemoryEntry(
                memory.limit_bytes, memory.usage_bytes, details.memory_peak_bytes or 0, details.memory_failures or 0
            )
            table = files.read_table(self.kernel.file(self.path, "memory.stat")) or {}
            raw = {name.decode(): value for name, value in table.items()}
            answer.memory = told.Memory(memory.cache_bytes, usage, raw=raw)
            if memory.swap is not None:
                answer.memory.swap.usage = memory.swap.usage_bytes
        if details.tasks is not None:
            answer.pids = told.Pids(details.tasks.current, details.tasks.limit)
        return answer


def members(cgroup: Cgroup, without: Iterable[int]) -> list[int]:
    """Pids in it, but for those of the machinery."""
    return [pid for pid in cgroup.kernel.processes(cgroup.path) if pid not in set(without)]


def _remove(directory: str, deadline: float) -> None:
    """A cgroup is busy for a moment after its last process."""
    while True:
        try:
            Path(directory).rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            select.select([], [], [], _END_POLL_MS / 1000)
