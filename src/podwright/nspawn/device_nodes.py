"""Containers that could make device nodes where nothing says which devices they may use: they can't, then. Pure."""

from __future__ import annotations

from typing import Any

from podwright.oci.runtime_spec import LinuxResources

_MKNOD = "CAP_MKNOD"


def confined(process: dict[str, Any], resources: LinuxResources | None, *, guarded: bool) -> dict[str, Any]:
    """`process` of a configuration, without CAP_MKNOD unless the cgroup has devices `guarded`, or all are allowed."""
    rules = resources.devices if resources is not None else []
    if guarded or any(rule.allow and rule.type in ("", "a") and rule.major is None for rule in rules):
        return process
    sets = (process.get("capabilities") or {}).items()
    return process | {"capabilities": {name: [each for each in caps or [] if each != _MKNOD] for name, caps in sets}}
