"""A seccomp program that allows file work and threads, as data. Pure; `sandbox.py` installs it.

Everything else answers ENOSYS, which the C library takes for an old kernel, instead of a signal, so that a new
version of it degrades to what is allowed. seccomp(2), kernel.org: userspace-api/seccomp_filter.
"""

from __future__ import annotations

import struct

# Name: numbers on x86-64 and on arm64 (asm-generic). asm/unistd_64.h, asm-generic/unistd.h
_ALLOWED = {
    "read": (0, 63), "write": (1, 64), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65),
    "writev": (20, 66), "lseek": (8, 62), "close": (3, 57), "openat": (257, 56), "newfstatat": (262, 79),
    "fstat": (5, 80), "statx": (332, 291), "getdents64": (217, 61), "dup": (32, 23), "fcntl": (72, 25),
    "ftruncate": (77, 46), "mkdirat": (258, 34), "mknodat": (259, 33), "symlinkat": (266, 36), "linkat": (265, 37),
    "unlinkat": (263, 35), "fchown": (93, 55), "fchownat": (260, 54), "fchmod": (91, 52), "fchmodat": (268, 53),
    "utimensat": (280, 88), "fsetxattr": (190, 7), "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226),
    "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "futex": (202, 98),
    "set_robust_list": (273, 99), "rseq": (334, 293), "sched_yield": (24, 124), "getpid": (39, 172),
    "gettid": (186, 178), "getrandom": (318, 278), "clock_gettime": (228, 113), "clock_nanosleep": (230, 115),
    "restart_syscall": (219, 128), "exit": (60, 93), "exit_group": (231, 94), "membarrier": (324, 283),
}  # fmt: skip
_CLONE = (56, 220)
_CLONE_THREAD = 0x10000

# linux/audit.h: the architecture as seccomp sees it, and the column of the table above
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06  # linux/bpf_common.h
_ALLOW, _KILL, _NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050000 | 38
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_FIRST_ARGUMENT = 0, 4, 16  # struct seccomp_data, little-endian


def file_work_only(machine: str) -> bytes:
    """The filter for `machine` (as uname(2) names it), b'' where the numbers are not known."""
    if machine not in ARCHITECTURES:
        return b""
    arch, column = ARCHITECTURES[machine]
    program = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    for numbers in _ALLOWED.values():
        program += [(_JUMP_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ALLOW)]
    program += [  # a clone that makes a thread, not a process; clone3 hides its flags behind a pointer
        (_JUMP_EQUAL, 0, 3, _CLONE[column]),
        (_LOAD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_JUMP_SET, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NO_SUCH_CALL),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
