"""Where the bench keeps things: scratch and results below one directory of the checkout, sockets below /run."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bench import programs
from podwright.linux.mounts import tmpfs, unmount_tree

CGROUP_PARENT = "/podwright-bench"
_RUN_LIMIT_BYTES = 1 << 30
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Workspace:
    """`root` survives between runs (images are dear to make); `run` holds sockets and state and doesn't."""

    root: Path
    run: Path = Path("/run/podwright-bench")

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def scratch(self) -> Path:
        """Roots of the daemons, pod directories, logs, leases of addresses: gone after each run."""
        return self.root / "scratch"

    @property
    def logs(self) -> Path:
        """What the daemons wrote: kept until the next run."""
        return self.root / "logs"

    @property
    def certs(self) -> Path:
        """containerd's `hosts.toml` directories, which every peer reads."""
        return self.scratch / "certs.d"

    @property
    def cni_conf(self) -> Path:
        return self.scratch / "net.d"

    def prepare(self) -> None:
        """Take down what a killed run left, then make the directories."""
        self.clear()
        shutil.rmtree(self.logs, ignore_errors=True)
        for directory in (self.images, self.registry, self.results, self.scratch, self.logs, self.run, self.cni_conf):
            directory.mkdir(parents=True, exist_ok=True)
        # As on a booted machine, where /run is one; in a container it often lies on the disk.
        tmpfs(self.run, size_bytes=_RUN_LIMIT_BYTES, mode=0o755, name="podwright-bench")
        spread(self.scratch)

    def clear(self) -> None:
        """Unmount and remove everything that is not kept between runs."""
        for directory in (self.scratch, self.run):
            remove_tree(directory)
        remove_cgroups()


def spread(directory: Path) -> None:
    """Let ext4 put each directory made here somewhere else on the disk.

    ext4 doesn't use an inode again for minutes after it was freed and steps over such ones bit by bit, so unpacking
    near a tree that was just removed takes up to ten times as long: the second pull would pay for the first.
    The place follows from a hash of the name that a directory is made with. Other file systems need nothing.
    """
    with contextlib.suppress(programs.ProgramError):
        programs.run("chattr", "+T", directory)


def make_spread(directory: Path) -> None:
    """Make a directory whose parent is `spread`, elsewhere each time."""
    temporary = directory.with_name(f"{directory.name}.{time.monotonic_ns()}")
    temporary.mkdir()
    temporary.rename(directory)


def remove_tree(directory: Path) -> None:
    """Remove a directory with whatever is mounted below it."""
    if directory.exists():
        unmount_tree(directory)
        shutil.rmtree(directory)


def remove_empty(directory: Path) -> None:
    """Remove a directory if it holds nothing but empty directories."""
    for path, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()


def remove_cgroups() -> None:
    """Remove the pods' common cgroup in every hierarchy; a process that was just killed may keep one for a moment."""
    name = CGROUP_PARENT.strip("/")
    deadline = time.monotonic() + 5
    for top in (_CGROUPS, *(path for path in _CGROUPS.iterdir() if path.is_dir())):
        for directory, _, _ in os.walk(top / name, topdown=False):
            while True:
                try:
                    Path(directory).rmdir()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
