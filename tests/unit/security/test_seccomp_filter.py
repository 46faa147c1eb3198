"""Compiled profiles: interpreted here, instruction by instruction, they say what the profile says."""

from __future__ import annotations

import base64
import json
import platform
import struct

import msgspec
import pytest

from podwright.base.errors import InvalidArgument
from podwright.linux import libseccomp
from podwright.security.capabilities import DEFAULT_CAPABILITIES
from podwright.security.seccomp import default_profile, parse_profile
from podwright.security.seccomp_filter import compiled

pytestmark = [
    pytest.mark.skipif(not libseccomp.available(), reason="libseccomp is not installed"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers below are those of x86-64"),
]

X86_64, I386 = 0xC000003E, 0x40000003
ALLOW, KILL = 0x7FFF0000, 0
READ, MOUNT, SOCKET, CLONE, CLONE3, PERSONALITY = 0, 165, 41, 56, 435, 135


def run(program: bytes, number: int, *arguments: int, arch: int = X86_64) -> int:
    """A seccomp program's verdict on one call. kernel: userspace-api/seccomp_filter.rst; linux/filter.h"""
    words = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number, arch, 0, *words)
    code = list(struct.iter_unpack("<HBBI", program))
    at, accumulator = 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == 0x20:  # load a word
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x54:  # and
            accumulator &= operand
        elif operation == 0x06:
            return int(operand)
        elif operation == 0x05:
            at += operand
        else:
            holds = {
                0x15: accumulator == operand, 0x25: accumulator > operand,
                0x35: accumulator >= operand, 0x45: bool(accumulator & operand),
            }[operation]  # fmt: skip
            at += if_true if holds else if_false


def errno_of(verdict: int) -> int:
    assert verdict >> 16 == 0x0005
    return verdict & 0xFFFF


def test_the_default_profile() -> None:
    program = base64.b64decode(compiled(default_profile(DEFAULT_CAPABILITIES)))
    assert run(program, READ) == ALLOW
    assert errno_of(run(program, MOUNT)) == 1
    assert errno_of(run(program, 9999)) == 1
    assert run(program, SOCKET, 2) == ALLOW
    assert errno_of(run(program, SOCKET, 40)) == 1
    assert run(program, CLONE, 0x00010000) == ALLOW
    assert errno_of(run(program, CLONE, 0x10000000)) == 1
    assert errno_of(run(program, CLONE3)) == 38
    assert run(program, PERSONALITY, 8) == ALLOW
    assert errno_of(run(program, PERSONALITY, 7)) == 1
    assert run(program, 3, arch=I386) == ALLOW  # read(2) on i386
    assert run(program, READ, arch=0xC00000B7) == KILL


def test_other_abis_only_where_they_are_named() -> None:
    program = base64.b64decode(compiled(default_profile(DEFAULT_CAPABILITIES, all_abis=False)))
    assert run(program, READ) == ALLOW
    assert run(program, 3, arch=I386) == KILL


def test_alternatives_for_one_argument() -> None:
    argument = {"index": 0, "op": "SCMP_CMP_EQ"}
    rule = {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
            "args": [{**argument, "value": 1}, {**argument, "value": 2}]}  # fmt: skip
    document = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule]}
    program = base64.b64decode(compiled(parse_profile(json.dumps(document).encode(), "p", frozenset())))
    verdicts = [run(program, PERSONALITY, value) for value in (0, 1, 2)]
    assert verdicts == [ALLOW, 0x00050005, 0x00050005]


def test_it_is_compiled_once_and_unknown_names_are_left_out() -> None:
    document = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["no_such"], "action": "SCMP_ACT_ALLOW"}]}
    profile = msgspec.Raw(json.dumps(document).encode())
    assert compiled(profile) is compiled(msgspec.Raw(bytes(profile)))


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": ["SCMP_ARCH_VAX"]},
        {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]}]},
        {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                       "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}]},
    ],
)  # fmt: skip
def test_what_libseccomp_refuses(change: dict[str, object]) -> None:
    document = {"defaultAction": "SCMP_ACT_ERRNO", **change}
    with pytest.raises(InvalidArgument, match="seccomp profile"):
        compiled(msgspec.Raw(json.dumps(document).encode()))


def test_without_the_library_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libseccomp, "available", lambda: False)
    assert compiled(default_profile([])) == ""
