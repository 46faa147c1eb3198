"""SELinux: whether this kernel has it, and the labels of a process and of its files. selinux(8).

Containers are told apart by their level: each pod has two categories of its own, which its containers and its files
share, so that what is container_t in one pod can't touch what is container_file_t in another.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from podwright.base.errors import FailedPrecondition, InvalidArgument

_ROOT = Path("/sys/fs/selinux")
_CATEGORIES = 1024
_CATEGORY_SET = r"c\d+(?:\.c\d+)?(?:,c\d+(?:\.c\d+)?)*"
_SENSITIVITY = rf"s\d+(?::{_CATEGORY_SET})?"
_LEVEL = re.compile(rf"{_SENSITIVITY}(?:-{_SENSITIVITY})?\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]+\Z", re.ASCII)


@dataclass(frozen=True)
class Options:
    """What a request asks for; '' for what it leaves to us."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@functools.cache
def available() -> bool:
    """Whether this kernel has SELinux, and a policy is loaded."""
    return (_ROOT / "enforce").exists()


def check(options: Options, field: str) -> None:
    """Raises InvalidArgument for what no policy can have."""
    for name, value in (("user", options.user), ("role", options.role), ("type", options.type)):
        if value and not _NAME.match(value):
            raise InvalidArgument(f"{value!r} is not an SELinux {name}", field=f"{field}.{name}")
    if options.level and not _LEVEL.match(options.level):
        raise InvalidArgument(f"{options.level!r} is not an SELinux level like s0:c4,c5", field=f"{field}.level")


def require(options: Options, field: str) -> None:
    """Raises FailedPrecondition where labels are asked for and the kernel knows none."""
    if options != Options() and not available():
        raise FailedPrecondition(
            f"{field}: SELinux labels are asked for, but this kernel has no SELinux; with the setting "
            "container.selinux_optional such containers run without"
        )


def new_level(taken: Container[str]) -> str:
    """A level of two categories that is not `taken`."""
    while True:
        low, high = sorted(secrets.SystemRandom().sample(range(_CATEGORIES), 2))
        level = f"s0:c{low},c{high}"
        if level not in taken:
            return level


def process_label(options: Options, *, pod_level: str, privileged: bool) -> str:
    """Of a container's process. Raises InvalidArgument for one that the loaded policy doesn't know."""
    kind, level = ("spc_t", "s0") if privileged else ("container_t", pod_level or "s0")
    label = ":".join(
        (options.user or "system_u", options.role or "system_r", options.type or kind, options.level or level)
    )
    _check_with_policy(label)
    return label


def file_label(options: Options, *, pod_level: str) -> str:
    """Of what a container may write."""
    return f"{options.user or 'system_u'}:object_r:container_file_t:{options.level or pod_level or 's0'}"


def _check_with_policy(label: str) -> None:
    """The kernel says whether a context is valid under the loaded policy: security_check_context(3)."""
    fd = os.open(_ROOT / "context", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(fd, label.encode() + b"\0")
    except OSError as error:
        raise InvalidArgument(f"{label} is not valid under this machine's SELinux policy: {error.strerror}") from error
    finally:
        os.close(fd)
