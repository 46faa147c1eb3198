"""The `CgroupDriver`: names by one naming, directories and counters by one kernel layout.

With systemd's naming the slices and scopes are systemd's: the OCI runtime asks for a scope, and systemd makes its
slice. So there `create_parent` makes nothing, and limits of a pod are the slice's owner's. A scope goes with its last
process, a slice stays until somebody stops it: `discard_parent` does, with those that no kubelet knows of.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from podwright.base.log import get_logger
from podwright.cgroup import files
from podwright.cgroup import naming as names
from podwright.cgroup.base import CgroupStats, Kernel, Limits, Naming, Version
from podwright.cgroup.details import CgroupDetails
from podwright.linux.process import run
from podwright.oci.runtime_spec import LinuxResources

log = get_logger(__name__)

_KILL_AGAIN_S = 0.1
_SYSTEMCTL_TIMEOUT_S = 30.0


class Cgroups:
    """See `CgroupDriver`. `default_parent` in either syntax."""

    def __init__(self, kernel: Kernel, *, version: Version, naming: Naming, default_parent: str) -> None:
        self._kernel = kernel
        self.version: Version = version
        self.naming: Naming = naming
        self._default_parent = self._native(default_parent)
        self._warned = False

    def _native(self, parent: str) -> str:
        """A parent in the syntax of our naming, checked."""
        if self.naming == "systemd":
            if names.is_slice(parent):
                names.expand_slice(parent)
                return parent
            return names.slice_of(parent)
        return names.expand_slice(parent) if names.is_slice(parent) else names.check_path(parent)

    def pod_parent(self, asked: str, sandbox_id: str) -> str:
        if not asked:
            if self.naming == "systemd":
                return names.slice_below(self._default_parent, sandbox_id)
            return f"{self._default_parent}/{sandbox_id}"
        if names.is_slice(asked) != (self.naming == "systemd") and not self._warned:
            self._warned = True
            log.warning(
                "pods ask for parents of the other cgroup driver: set the kubelet's cgroupDriver, or cgroup.driver",
                parent=asked,
                driver=self.naming,
            )
        return self._native(asked)

    def container_path(self, parent: str, container_id: str) -> str:
        if self.naming == "systemd":
            return f"{parent}:{names.SCOPE_PREFIX}:{container_id}"
        return f"{parent}/{container_id}"

    def kernel_path(self, parent: str, container_id: str = "") -> str:
        path = names.expand_slice(parent) if self.naming == "systemd" else parent
        if not container_id:
            return path
        return f"{path}/{names.scope_of(container_id) if self.naming == 'systemd' else container_id}"

    def path_of(self, pid: int) -> str:
        if self.version != "v2":
            return ""
        line = (files.read(f"/proc/{pid}/cgroup") or b"").decode().strip()  # cgroups(7): 0::PATH
        path = line.removeprefix("0::")
        return "" if ".." in path.split("/") else path

    def missing_parents(self, parent: str) -> tuple[str, ...]:
        if self.naming == "systemd":
            return ()
        parts = parent.strip("/").split("/")
        levels = ("/" + "/".join(parts[: count + 1]) for count in range(len(parts)))
        return tuple(
            directory
            for level in levels
            for directory in self._kernel.directories(level)
            if not os.access(directory, os.F_OK)
        )

    def create_parent(self, parent: str, limits: Limits | None = None) -> tuple[str, ...]:
        made: list[str] = []
        try:
            self._make(parent, made)
            if limits is not None and self.is_sized_by_maker(parent, made):
                self._kernel.set_limits(parent, limits)
        except BaseException:
            self.remove(made)
            raise
        return tuple(made)

    def is_sized_by_maker(self, parent: str, made: Iterable[str]) -> bool:
        return self._kernel.limiting_directory(self.kernel_path(parent)) in made

    def _make(self, parent: str, made: list[str]) -> None:
        """Appends to `made` as it goes. Starts over when an empty ancestor is removed, or made, under our hands."""
        for _ in range(10):
            try:
                for directory in self.missing_parents(parent):
                    Path(directory).mkdir(mode=0o755)
                    made.append(directory)
                    self._kernel.prepare(directory)
                return
            except (FileExistsError, FileNotFoundError):
                continue
            except OSError as error:
                raise FailedPrecondition(
                    f"can't make cgroup {error.filename}: {error.strerror}; is its file system mounted writable?"
                ) from error
        raise FailedPrecondition(f"cgroup {parent} is removed as fast as it is made: by whom?")

    def remove(self, made: Iterable[str]) -> tuple[str, ...]:
        """The default parent's own directories go with the last pod, whichever pod made them."""
        given = list(dict.fromkeys(made))
        left = [directory for directory in reversed(given) if not _rmdir(directory)]
        if given and self.naming == "cgroupfs":
            for directory in self._kernel.directories(self._default_parent):
                if any(path.startswith(directory + "/") for path in given):
                    _rmdir(directory)
        return tuple(reversed(left))

    async def discard_parent(self, parent: str, sandbox_id: str) -> None:
        if self.naming != "systemd" or parent != names.slice_below(self._default_parent, sandbox_id):
            return
        if any(os.access(directory, os.F_OK) for directory in self._kernel.directories(names.expand_slice(parent))):
            await run(["systemctl", "stop", parent], timeout_s=_SYSTEMCTL_TIMEOUT_S)

    def processes(self, path: str) -> list[int]:
        return self._kernel.processes(path)

    def limits_hugepages(self) -> bool:
        return self._kernel.limits_hugepages()

    def limits_swap(self) -> bool:
        return self._kernel.limits_swap()

    def set_limits(self, path: str, limits: Limits) -> None:
        self._kernel.set_limits(path, limits)

    def save(self, path: str, resources: LinuxResources) -> dict[str, str]:
        found = {name: self._content(path, name) for name in self._kernel.written_by(resources)}
        return {name: content.decode().strip() for name, content in found.items() if content is not None}

    def _content(self, path: str, name: str) -> bytes | None:
        """A cpuset of v2 that is empty has its parent's; it can't be emptied again while there are processes in it."""
        content = files.read(self._kernel.file(path, name))
        if content is not None and not content.strip() and name.startswith("cpuset."):
            return files.read(self._kernel.file(path, f"{name}.effective")) or content
        return content

    def as_resources(self, saved: Mapping[str, str]) -> LinuxResources:
        return self._kernel.as_resources(saved)

    def restore(self, path: str, saved: Mapping[str, str]) -> None:
        """In rounds, since one value may have to wait for another: memory+swap is never below memory."""
        left = dict(saved)
        while left:
            refused: dict[str, InvalidArgument] = {}
            for name, content in left.items():
                try:
                    files.write_lines(self._kernel.file(path, name), content)
                except FileNotFoundError:
                    continue
                except InvalidArgument as error:
                    refused[name] = error
            if len(refused) == len(left):
                raise next(iter(refused.values()))
            left = {name: left[name] for name in refused}

    async def kill_all(self, path: str, *, timeout_s: float = 10.0) -> None:
        deadline, pause_s = time.monotonic() + timeout_s, 0.0005
        kill_at = 0.0
        while pids := self._kernel.processes(path):
            if os.getpid() in pids:
                raise FailedPrecondition(f"cgroup {path} holds this very process: it is no container's")
            now = time.monotonic()
            if now > deadline:
                listed = ", ".join(map(str, pids[:10]))
                raise DeadlineExceeded(f"processes {listed} of cgroup {path} did not die within {timeout_s:g} s")
            if now >= kill_at:
                self._kernel.kill(path)
                kill_at = now + _KILL_AGAIN_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.02)

    async def discard(self, path: str) -> None:
        await self.kill_all(path)
        for directory in self._kernel.directories(path):
            _rmdir(directory)

    def set_frozen(self, path: str, *, frozen: bool) -> None:
        self._kernel.set_frozen(path, frozen=frozen)

    def oom_kills(self, path: str) -> int | None:
        return self._kernel.oom_kills(path)

    def stats(self, path: str) -> CgroupStats | None:
        return self._kernel.stats(path)

    def details(self, path: str) -> CgroupDetails:
        return self._kernel.details(path)


def _rmdir(directory: str) -> bool:
    """Whether the cgroup is gone now. One with processes or children gives EBUSY."""
    try:
        Path(directory).rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True
