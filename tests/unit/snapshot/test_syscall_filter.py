"""The seccomp program, run by a small interpreter of the classic BPF it uses."""

from __future__ import annotations

import struct

import pytest

from podwright.snapshot import syscall_filter
from podwright.snapshot.syscall_filter import file_work_only

ALLOW, KILL, ERRNO_38 = 0x7FFF0000, 0x80000000, 0x00050026
X86, ARM = 0xC000003E, 0xC00000B7


def run(machine: str, number: int, *, arch: int = X86, argument: int = 0) -> int:
    data = struct.pack("<IIQ6Q", number, arch, 0, argument, 0, 0, 0, 0, 0)
    code_bytes = file_work_only(machine)
    program = list(struct.iter_unpack("<HBBI", code_bytes))
    at = accumulator = 0
    while True:
        code, true, false, k = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x15:
            at += true if accumulator == k else false
        elif code == 0x45:
            at += true if accumulator & k else false
        else:
            assert code == 0x06
            return int(k)


def test_file_work_is_allowed() -> None:
    for name, (x86, arm) in syscall_filter._ALLOWED.items():
        assert run("x86_64", x86) == ALLOW, name
        assert run("aarch64", arm, arch=ARM) == ALLOW, name


@pytest.mark.parametrize("number", [41, 59, 101, 161, 165, 272, 308, 321, 322, 425, 435, 437, 0x40000000 + 0])
def test_sockets_programs_mounts_and_the_like_do_not_exist(number: int) -> None:
    assert run("x86_64", number) == ERRNO_38


def test_threads_but_no_processes() -> None:
    assert run("x86_64", 56, argument=0x3D0F00) == ALLOW
    assert run("x86_64", 56, argument=17) == ERRNO_38


def test_another_architecture_is_killed() -> None:
    assert run("x86_64", 0, arch=0x40000003) == KILL


def test_unknown_machines_get_no_filter() -> None:
    assert file_work_only("riscv64") == b""
