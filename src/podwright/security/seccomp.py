"""Seccomp profiles in OCI form, already encoded as JSON: the default one, and those an administrator wrote.

The default allows what Docker's and containerd's default profiles allow; `default_seccomp.json` lists it by the
condition it hangs on. It is built once for each set of capabilities, because it is a third of every config.json.
Files may be in OCI form or in Docker's, whose rules have conditions (`includes`, `excludes`) that are resolved here.
OCI runtime specification, config-linux.md, "Seccomp".
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from podwright.base.errors import InvalidArgument, NotFound

PROFILE_LIMIT_BYTES = 1024 * 1024

_EPERM, _ENOSYS = 1, 38
_AF_VSOCK = 40
# CLONE_NEW* but for NEWTIME, which clone(2) can't express.
_NEW_NAMESPACES = 0x7E020000
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_ACTIONS = frozenset(
    "SCMP_ACT_" + word for word in
    ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG")
)  # fmt: skip


class Condition(msgspec.Struct, rename="camel"):
    """When a rule of Docker's form counts: all that is named must hold (includes), or none (excludes)."""

    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str | None = None


class Rule(msgspec.Struct, rename="camel", omit_defaults=True):
    """syscalls[]. `name` is Docker's old spelling; `includes`, `excludes` are Docker's; the rest is OCI's."""

    action: str
    names: list[str] | None = None
    name: str | None = None
    errno_ret: int | None = None
    args: list[dict[str, Any]] | None = None
    includes: Condition | None = None
    excludes: Condition | None = None


class ArchMap(msgspec.Struct, rename="camel"):
    """archMap[], Docker's: an architecture and those whose programs it runs as well."""

    architecture: str
    sub_architectures: list[str] | None = None


class Profile(msgspec.Struct, rename="camel", omit_defaults=True):
    """A profile in either form. A file with a listener is refused: it would name a socket for the runtime to open."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[ArchMap] | None = None
    flags: list[str] | None = None
    syscalls: list[Rule] | None = None
    listener_path: str | None = None


class _Machine(msgspec.Struct):
    architectures: list[str]
    allow: list[str]


class _Default(msgspec.Struct):
    """default_seccomp.json."""

    always: list[str]
    capabilities: dict[str, list[str]]
    machines: dict[str, _Machine]


# As `uname -m` has it → as Docker's profiles have it (Go's names).
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "x86", "armv7l": "arm"}


def default_profile(capabilities: Iterable[str], *, all_abis: bool = True) -> msgspec.Raw:
    """The encoded default profile for a process with these capabilities.

    `all_abis` False names the machine's own architecture only: programs of its other ABIs (32-bit ones) are killed.
    """
    return _default_profile(frozenset(capabilities), platform.machine(), all_abis=all_abis)


@lru_cache(maxsize=64)
def _default_profile(capabilities: frozenset[str], machine: str, *, all_abis: bool) -> msgspec.Raw:
    table = _default_table()
    here = table.machines.get(machine, _Machine([], []))
    allowed = set(table.always) | set(here.allow)
    for capability in capabilities:
        allowed |= set(table.capabilities.get(capability, ()))
    rules = [Rule(action="SCMP_ACT_ALLOW", names=sorted(allowed)), *_conditional()]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules += _without_namespaces(machine)
    profile = Profile(
        default_action="SCMP_ACT_ERRNO",
        default_errno_ret=_EPERM,
        architectures=here.architectures if all_abis else here.architectures[:1],
        syscalls=rules,
    )
    return msgspec.Raw(msgspec.json.encode(profile))


@lru_cache(maxsize=1)
def _default_table() -> _Default:
    data = (files("podwright.security") / "default_seccomp.json").read_bytes()
    return msgspec.json.decode(data, type=_Default)


def _conditional() -> list[Rule]:
    """Calls that are allowed for some arguments only."""
    vsock = [{"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_NE"}]
    rules = [Rule(action="SCMP_ACT_ALLOW", names=["socket"], args=vsock)]
    for persona in _PERSONALITIES:
        argument = [{"index": 0, "value": persona, "op": "SCMP_CMP_EQ"}]
        rules.append(Rule(action="SCMP_ACT_ALLOW", names=["personality"], args=argument))
    return rules


def _without_namespaces(machine: str) -> list[Rule]:
    """clone without new namespaces; clone3, whose flags no filter sees, is ENOSYS so that libc falls back."""
    flags = {"index": 1 if machine.startswith("s390") else 0, "value": _NEW_NAMESPACES, "op": "SCMP_CMP_MASKED_EQ"}
    return [
        Rule(action="SCMP_ACT_ALLOW", names=["clone"], args=[flags]),
        Rule(action="SCMP_ACT_ERRNO", names=["clone3"], errno_ret=_ENOSYS),
    ]


def load_profile(path: str, capabilities: Iterable[str]) -> msgspec.Raw:
    """An administrator's profile, checked, with its conditions resolved. Raises NotFound, InvalidArgument. Blocks."""
    if not path.startswith("/"):
        raise InvalidArgument(f"seccomp profile {path!r} must be an absolute path")
    try:
        with open(path, "rb") as file:
            data = file.read(PROFILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise NotFound(f"seccomp profile {path} can't be read: {error.strerror}") from error
    if len(data) > PROFILE_LIMIT_BYTES:
        raise InvalidArgument(f"seccomp profile {path} has more than {PROFILE_LIMIT_BYTES} bytes")
    return parse_profile(data, path, frozenset(capabilities))


def parse_profile(data: bytes, name: str, capabilities: frozenset[str]) -> msgspec.Raw:
    """A profile in OCI's or Docker's form as one in OCI's. Raises InvalidArgument with `name`."""
    try:
        profile = msgspec.json.decode(data, type=Profile)
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"seccomp profile {name} is not valid: {error}") from error
    if profile.listener_path:
        raise InvalidArgument(f"seccomp profile {name} has a listenerPath, which is not taken from a file")
    rules = [_oci_rule(rule) for rule in profile.syscalls or [] if _applies(rule, capabilities)]
    for action in [profile.default_action, *(rule.action for rule in rules)]:
        if action not in _ACTIONS:
            raise InvalidArgument(f"seccomp profile {name} has an unknown action {action!r}")
    result = Profile(
        default_action=profile.default_action, default_errno_ret=profile.default_errno_ret,
        architectures=_architectures(profile), flags=profile.flags, syscalls=[rule for rule in rules if rule.names],
    )  # fmt: skip
    return msgspec.Raw(msgspec.json.encode(result))


def _oci_rule(rule: Rule) -> Rule:
    names = rule.names or ([rule.name] if rule.name else [])
    return Rule(action=rule.action, names=names, errno_ret=rule.errno_ret, args=rule.args or None)


def _applies(rule: Rule, capabilities: frozenset[str]) -> bool:
    machine = platform.machine()
    arches = {machine, _GO_NAMES.get(machine, machine)}
    if (must := rule.includes) is not None and (
        (must.caps and not set(must.caps) <= capabilities)
        or (must.arches and not arches & set(must.arches))
        or (must.min_kernel and _kernel() < _version(must.min_kernel))
    ):
        return False
    return (mustnt := rule.excludes) is None or not (
        (mustnt.caps and set(mustnt.caps) & capabilities)
        or (mustnt.arches and arches & set(mustnt.arches))
        or (mustnt.min_kernel and _kernel() >= _version(mustnt.min_kernel))
    )


def _architectures(profile: Profile) -> list[str] | None:
    if profile.architectures or not profile.arch_map:
        return profile.architectures
    native = _default_table().machines.get(platform.machine(), _Machine([], [])).architectures[:1]
    for entry in profile.arch_map:
        if [entry.architecture] == native:
            return [entry.architecture, *(entry.sub_architectures or [])]
    return native or None


def _kernel() -> tuple[int, int]:
    return _version(platform.release())


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
