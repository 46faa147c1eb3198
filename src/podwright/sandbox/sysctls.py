"""Sysctls of a pod: only namespaced ones, only for a namespace that the pod owns, keys and values spelled safely.

The character sets are closed (CVE-2022-0811 put further keys into a value). sysctl(8), namespaces(7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from podwright.base.errors import InvalidArgument

_KEY = re.compile(r"[a-z0-9_]+(?:[./][a-zA-Z0-9_-]+)+\Z")
_VALUE = re.compile(r"[A-Za-z0-9_.,:/ \t-]*\Z")
_SWAPPED = str.maketrans("./", "/.")
_IPC_EXACT = frozenset(
    {"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.msgmax", "kernel.msgmnb",
     "kernel.msgmni", "kernel.sem", "kernel.shm_next_id", "kernel.msg_next_id", "kernel.sem_next_id"}
)  # fmt: skip


def check_sysctls(sysctls: Mapping[str, str], *, host_network: bool, host_ipc: bool) -> dict[str, str]:
    """The sysctls by their dotted key, in which a slash stands for a dot in a name: sysctl(8).

    Raises InvalidArgument for what isn't namespaced, or not the pod's to set.
    """
    checked: dict[str, str] = {}
    for given, value in sysctls.items():
        field = f"linux.sysctls[{given!r}]"
        if not _KEY.match(given):
            raise InvalidArgument("not a sysctl name", field=field)
        if not _VALUE.match(value):
            raise InvalidArgument(f"value {value!r} holds characters that no sysctl takes", field=field)
        # The separator that comes first is the separator, the other one is part of a name.
        key = given.translate(_SWAPPED) if "." not in given.split("/")[0] else given
        if key.startswith("net."):
            owner, shared = "network", host_network
        elif key in _IPC_EXACT or key.startswith("fs.mqueue."):
            owner, shared = "IPC", host_ipc
        else:
            raise InvalidArgument("is not namespaced: it would change the whole node", field=field)
        if shared:
            raise InvalidArgument(f"belongs to the {owner} namespace, which this pod shares with the host", field=field)
        checked[key] = value
    return checked
