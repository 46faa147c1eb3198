"""Cgroups: which layout is mounted, and whether the controllers that limits need are in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.cgroup.base import Settings
from podwright.cgroup.detect import Hierarchies, hierarchies, naming
from podwright.cli.checks.finding import Finding, fail, ok, warn

_NEEDED = ("cpu", "memory")
_WANTED = ("cpuset", "pids")


def findings(settings: Settings) -> Iterator[Finding]:
    """All of this file."""
    try:
        found = hierarchies()
    except FailedPrecondition as error:
        yield fail("cgroups", str(error), "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        return
    yield layout(found, naming(settings, found.version))
    yield from controllers(available(found))


def layout(found: Hierarchies, driver: str) -> Finding:
    """v2, v1 or both."""
    words = {
        "v2": "v2 (unified)",
        "v1": "v1",
        "hybrid": f"hybrid: controllers in v1, and v2 at {found.unified}",
    }
    message = f"{words[found.version]}; driver {driver}"
    if found.version == "v2":
        return ok("cgroups", message)
    return warn("cgroups", message, "Kubernetes and systemd are leaving v1; v2: systemd.unified_cgroup_hierarchy=1")


def available(found: Hierarchies) -> set[str]:
    """The controllers there are."""
    if found.version != "v2":
        return set(found.controllers)
    return set((Path(found.unified) / "cgroup.controllers").read_text().split())


def controllers(there: Collection[str]) -> Iterator[Finding]:
    """Whether limits can be enforced."""
    missing = [name for name in _NEEDED if name not in there]
    lacking = [name for name in _WANTED if name not in there]
    if missing:
        yield fail(
            "controllers", f"{', '.join(missing)} missing: limits can't be enforced",
            "enable them at boot (cgroup_enable=memory, …)",
        )  # fmt: skip
    elif lacking:
        yield warn("controllers", f"{', '.join(lacking)} missing", "enable them at boot if pods need them")
    else:
        yield ok("controllers", ", ".join(name for name in (*_NEEDED, *_WANTED)))
