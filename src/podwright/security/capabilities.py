"""Capabilities: the default set, what a request adds and drops, and what the daemon can hand on at all.

capabilities(7). The inheritable set stays empty but for ambient ones (CVE-2022-24769, CVE-2022-27652).
"""

from __future__ import annotations

from collections.abc import Iterable

from podwright.base.errors import InvalidArgument
from podwright.base.log import get_logger
from podwright.linux.capability_sets import CAPABILITY_NAMES
from podwright.oci.runtime_spec import Capabilities

log = get_logger(__name__)

# The set that Docker gave containers and everybody kept.
DEFAULT_CAPABILITIES = frozenset(
    {
        "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
        "CAP_SYS_CHROOT",
    }
)  # fmt: skip

_KNOWN = frozenset(CAPABILITY_NAMES)
_warned: set[str] = set()


def container_capabilities(
    *,
    add: Iterable[str],
    drop: Iterable[str],
    add_ambient: Iterable[str],
    privileged: bool,
    available: frozenset[str],
) -> Capabilities:
    """The sets of a container's process; execve(2) takes all but the ambient ones from a user who is not root.

    Ambient ones are added to all sets; ALL of them are those that the process has.
    `available` is what the daemon can hand on: what is beyond is left out, with one warning in the daemon's life.
    Raises InvalidArgument for a name that is no capability.
    """
    raised = {_name(word) for word in add_ambient}
    dropped = {_name(word) for word in drop} if not privileged else set[str]()
    bounding = (set(_KNOWN) if privileged else _asked(add, dropped)) | (raised - dropped - {"ALL"})
    _warn_once(bounding - available)
    granted = _ordered(bounding & available)
    # A capability can be ambient only while it is inheritable as well.
    ambient = granted if "ALL" in raised else _ordered(raised & set(granted))
    return Capabilities(bounding=granted, permitted=granted, effective=granted, inheritable=ambient, ambient=ambient)


def _asked(add: Iterable[str], dropped: set[str]) -> set[str]:
    """Add ALL fills the set, drop ALL empties it, then names are added and dropped: a drop wins."""
    added = {_name(word) for word in add}
    start = set(_KNOWN if "ALL" in added else DEFAULT_CAPABILITIES)
    if "ALL" in dropped:
        start = set()
    return (start | (added - {"ALL"})) - (dropped - {"ALL"})


def _name(word: str) -> str:
    """CAP_X for x, X, cap_x; ALL for all."""
    name = word.upper()
    if name in ("ALL", "CAP_ALL"):
        return "ALL"
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in _KNOWN:
        raise InvalidArgument(f"{word!r} is not a capability", field="linux.security_context.capabilities")
    return name


def _ordered(names: Iterable[str]) -> list[str]:
    chosen = set(names)
    return [name for name in CAPABILITY_NAMES if name in chosen]


def _warn_once(missing: Iterable[str]) -> None:
    for name in sorted(set(missing) - _warned):
        _warned.add(name)
        log.warning("this daemon lacks a capability, so no container gets it", capability=name)
