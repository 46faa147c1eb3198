"""How large a machine is: from the limits of the pod, or of the container that has the machine to itself. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from podwright.oci.runtime_spec import LinuxResources
from podwright.vm.settings import Settings

# containerd's dialect: what the kubelet says of a whole pod; 0, or nothing, where a container of it has no limit.
MEMORY, QUOTA, PERIOD = (f"io.kubernetes.cri.sandbox-{word}" for word in ("memory", "cpu-quota", "cpu-period"))
_PAGE = 2 << 20
_MOST_CPUS = 288  # of microvm


def memory_bytes(settings: Settings, annotations: Mapping[str, str], resources: LinuxResources | None) -> int:
    """A multiple of 2 MiB."""
    limit = _number(annotations, MEMORY)
    if not limit and resources is not None and resources.memory is not None:
        limit = resources.memory.limit or 0
    wanted = limit + settings.overhead_bytes if limit > 0 else settings.memory_bytes
    return -(-wanted // _PAGE) * _PAGE


def cpus(settings: Settings, annotations: Mapping[str, str], resources: LinuxResources | None, *, of_host: int) -> int:
    """As many as the limit needs, whole ones, and no more than the host has."""
    quota, period = _number(annotations, QUOTA), _number(annotations, PERIOD)
    if quota <= 0 and resources is not None and resources.cpu is not None:
        quota, period = resources.cpu.quota or 0, resources.cpu.period or 0
    wanted = math.ceil(quota / (period or 100_000)) if quota > 0 else settings.cpus or of_host
    return max(1, min(wanted, of_host, _MOST_CPUS))


def _number(annotations: Mapping[str, str], key: str) -> int:
    word = annotations.get(key, "")
    return int(word) if word.lstrip("-").isdigit() else 0
