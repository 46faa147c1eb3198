"""libseccomp, as much as it takes to compile a filter: seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3).

Another library's door, beside the one to system calls. It knows rules as numbers and tuples only; which rules, and
why, is `security/`'s business. Every runtime of runc's family links the same library, so where there is one of
those there is this, but a runtime that is linked statically may come without: `available` tells.
"""

from __future__ import annotations

import ctypes  # noqa: TID251 - this is a door, too
import errno
import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_SONAME = "libseccomp.so.2"
_UNKNOWN_SYSCALL = -1

ACTIONS = {
    "KILL": 0x00000000, "KILL_THREAD": 0x00000000, "KILL_PROCESS": 0x80000000, "TRAP": 0x00030000,
    "ERRNO": 0x00050000, "TRACE": 0x7FF00000, "LOG": 0x7FFC0000, "ALLOW": 0x7FFF0000,
}  # fmt: skip
OPERATORS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("datum_a", ctypes.c_uint64), ("datum_b", ctypes.c_uint64),
    )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One argument of a system call against a value. For MASKED_EQ `value` is the mask and `second` the value."""

    index: int
    operator: int
    value: int
    second: int = 0


@dataclass(frozen=True)
class Rule:
    """What happens to a call by this name; all comparisons must hold."""

    action: int
    syscall: str
    comparisons: tuple[Comparison, ...] = ()


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(_SONAME, use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_arch_add.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compare),
    )  # fmt: skip
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library


@functools.cache
def available() -> bool:
    """Whether the library is installed."""
    try:
        _library()
    except OSError:
        return False
    return True


def compile_filter(default_action: int, architectures: Iterable[str], rules: Iterable[Rule]) -> bytes:
    """The BPF program, as an array of struct sock_filter. Architectures are libseccomp's names, `x86_64`.

    Calls whose name the library does not know are left to the default action, as runtimes do. Raises OSError.
    Takes some 10 ms without holding the interpreter's lock most of the time: call it in a thread.
    """
    library = _library()
    context = library.seccomp_init(default_action)
    if not context:
        raise OSError(errno.EINVAL, "seccomp_init: bad default action")
    try:
        for name in architectures:
            token = library.seccomp_arch_resolve_name(name.encode())
            if token == 0:
                raise OSError(errno.EINVAL, "seccomp_arch_resolve_name: unknown architecture", name)
            _check(library.seccomp_arch_add(context, token), "seccomp_arch_add", name, allowed=-errno.EEXIST)
        for rule in rules:
            _add(library, context, rule, default_action)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _add(library: Any, context: int, rule: Rule, default_action: int) -> None:
    number = library.seccomp_syscall_resolve_name(rule.syscall.encode())
    if number == _UNKNOWN_SYSCALL or rule.action == default_action:
        return
    count = len(rule.comparisons)
    array = (_Compare * max(1, count))(*(_Compare(c.index, c.operator, c.value, c.second) for c in rule.comparisons))
    result = library.seccomp_rule_add_array(context, rule.action, number, count, array)
    _check(result, "seccomp_rule_add", rule.syscall)


def _export(library: Any, context: int) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        _check(library.seccomp_export_bpf(context, fd), "seccomp_export_bpf", "")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _check(result: int, function: str, name: str, *, allowed: int = 0) -> None:
    if result < 0 and result != allowed:
        raise OSError(-result, f"{function}: {os.strerror(-result)}", name)
