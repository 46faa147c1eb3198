"""Who the container's process is: uid, gid, supplementary groups, HOME.

The request's run_as_user or run_as_username, else the image's USER, resolved in the image's /etc/passwd and
/etc/group, whose content is given as bytes. Numbers that don't fit are refused, never wrapped (CVE-2024-40635).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from podwright.base.errors import InvalidArgument, NotFound
from podwright.criapi import api_pb2 as pb

# The largest id that every runtime and file system takes, as Docker and containerd limit it.
MAX_ID = 2**31 - 1

_NUMBER = re.compile(r"-?[0-9]+\Z", re.ASCII)
_FIELD = "linux.security_context."


@dataclass(frozen=True)
class ResolvedUser:
    """The process's identity. `supplemental_groups` begins with `gid`. `home` is '' where passwd has no entry."""

    uid: int
    gid: int
    supplemental_groups: tuple[int, ...]
    home: str = ""


@dataclass(frozen=True)
class _Account:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str


def resolve_user(
    security: pb.LinuxContainerSecurityContext, image_user: str, *, passwd: bytes | None, group: bytes | None
) -> ResolvedUser:
    """The identity that the request and the image ask for. Raises InvalidArgument, NotFound (an unknown name)."""
    accounts = list(_accounts(passwd or b""))
    asked, asked_group = _asked(security, image_user)
    # A name that is a number is still a name to run_as_username; in an image's USER it is a uid.
    uid, account = _find_user(asked, accounts, numbers=not security.run_as_username)
    if security.HasField("run_as_group"):
        gid = _checked(security.run_as_group.value, f"{_FIELD}run_as_group")
    elif asked_group:
        gid = _find_group(asked_group, group or b"")
    else:
        gid = account.gid if account else 0
    groups = _supplemental(security, account, group or b"")
    home = account.home if account else ""
    return ResolvedUser(uid, gid, tuple(dict.fromkeys([gid, *groups])), home)


def _asked(security: pb.LinuxContainerSecurityContext, image_user: str) -> tuple[str, str]:
    """User and group as text; the group only counts when the user, too, comes from the image."""
    by_id, by_name = security.HasField("run_as_user"), bool(security.run_as_username)
    if by_id and by_name:
        raise InvalidArgument("only one of run_as_user and run_as_username can be set", field=f"{_FIELD}run_as_user")
    if security.HasField("run_as_group") and not (by_id or by_name):
        raise InvalidArgument("needs run_as_user or run_as_username as well", field=f"{_FIELD}run_as_group")
    if by_id:
        return str(_checked(security.run_as_user.value, f"{_FIELD}run_as_user")), ""
    if by_name:
        return security.run_as_username, ""
    user, _, group = image_user.strip().partition(":")
    return user or "0", group


def _find_user(asked: str, accounts: list[_Account], *, numbers: bool) -> tuple[int, _Account | None]:
    if numbers and _NUMBER.match(asked):
        uid = _checked(int(asked), "user")
        return uid, next((a for a in accounts if a.uid == uid), None)
    account = next((a for a in accounts if a.name == asked), None)
    if account is None:
        raise NotFound(f"no user {asked!r} in the image's /etc/passwd")
    return account.uid, account


def _find_group(asked: str, group: bytes) -> int:
    if _NUMBER.match(asked):
        return _checked(int(asked), "group")
    for name, gid, _members in _groups(group):
        if name == asked:
            return gid
    raise NotFound(f"no group {asked!r} in the image's /etc/group")


def _supplemental(security: pb.LinuxContainerSecurityContext, account: _Account | None, group: bytes) -> list[int]:
    """The groups given, and with the policy Merge those that the image puts the user in."""
    groups = [_checked(gid, f"{_FIELD}supplemental_groups") for gid in security.supplemental_groups]
    if security.supplemental_groups_policy == pb.Strict or account is None:
        return groups
    return groups + [gid for _name, gid, members in _groups(group) if account.name in members]


def _checked(number: int, field: str) -> int:
    if not 0 <= number <= MAX_ID:
        raise InvalidArgument(f"{number} is not an id: it must be between 0 and {MAX_ID}", field=field)
    return number


def _accounts(passwd: bytes) -> Iterator[_Account]:
    """Lines of passwd(5) that make sense; others are skipped, as getpwent(3) does."""
    for words in _lines(passwd, 7):
        uid, gid = _id(words[2]), _id(words[3])
        if words[0] and uid is not None and gid is not None:
            yield _Account(words[0], uid, gid, _home(words[5]))


def _groups(group: bytes) -> Iterator[tuple[str, int, frozenset[str]]]:
    """Lines of group(5) that make sense: name, gid, members."""
    for words in _lines(group, 4):
        gid = _id(words[2])
        if words[0] and gid is not None:
            yield words[0], gid, frozenset(words[3].split(","))


def _lines(content: bytes, fields: int) -> Iterator[list[str]]:
    for line in content.decode("utf-8", "replace").split("\n"):
        words = line.strip(" \t\r").split(":")
        if len(words) >= fields - 1 and not line.startswith("#"):
            yield words + [""] * (fields - len(words))


def _id(text: str) -> int | None:
    number = int(text) if _NUMBER.match(text) else -1
    return number if 0 <= number <= MAX_ID else None


def _home(text: str) -> str:
    """A home directory that can stand in an environment variable; '' for one with control characters."""
    return "" if any(ord(character) < 32 or ord(character) == 127 for character in text) else text
