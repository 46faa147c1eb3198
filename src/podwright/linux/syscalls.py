"""The one door to system calls that Python does not wrap.

Each wrapper has the kernel's name and argument order and is three lines; `_libc` and `_call` turn errno into
OSError with the path, so none can forget. Numbers are those of asm-generic, which x86-64 and arm64 share for
everything after 424; the few older ones are looked up through libc symbols.
"""

from __future__ import annotations

import ctypes  # noqa: TID251 - this is the door
import os
from typing import Any

_libc_handle = ctypes.CDLL(None, use_errno=True)

# mount(2), umount2(2)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 32, 4096, 8192, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

# clone(2), unshare(2), setns(2)
CLONE_NEWTIME, CLONE_FS = 0x80, 0x200
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000

# fsopen(2) and friends
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, 1, 4
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_IDMAP = 0x100000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x8000, 0x100

# openat2(2)
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 8, 16

# prctl(2)
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG = 23, 24, 38, 1
PR_SET_CHILD_SUBREAPER, PR_SET_SECCOMP, PR_SET_DUMPABLE = 36, 22, 4

# reboot(2)
RB_AUTOBOOT, RB_POWER_OFF = 0x01234567, 0x4321FEDC

SYNC_FILE_RANGE_WRITE = 2
FALLOC_FL_KEEP_SIZE = 1

_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 428, 429, 430, 431, 432
_NR_OPENAT2, _NR_MOUNT_SETATTR = 437, 442


def _errno_check(result: int, function: Any, arguments: tuple[Any, ...]) -> int:
    if result < 0:
        error = ctypes.get_errno()
        path = next((os.fsdecode(a) for a in arguments[1:] if isinstance(a, bytes)), None)
        raise OSError(error, f"{function.__name__}: {os.strerror(error)}", path)
    return result


def _libc(name: str, *argument_types: Any) -> Any:
    function = getattr(_libc_handle, name)
    function.restype = ctypes.c_int
    function.argtypes = argument_types
    function.errcheck = _errno_check
    return function


_mount = _libc("mount", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = _libc("umount2", ctypes.c_char_p, ctypes.c_int)
_sync_file_range = _libc("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_fallocate = _libc("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_unshare = _libc("unshare", ctypes.c_int)
_setns = _libc("setns", ctypes.c_int, ctypes.c_int)
_syncfs = _libc("syncfs", ctypes.c_int)
_reboot = _libc("reboot", ctypes.c_int)
_capset = _libc("capset", ctypes.c_void_p, ctypes.c_void_p)
_prctl = _libc("prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _call(name: str, number: int, *arguments: Any, path: str | bytes | None = None) -> int:
    result = _libc_handle.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}", path)
    return int(result)


def mount(
    source: str | None, target: str | bytes, fstype: str | None = None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2)"""
    _mount(_bytes(source), os.fsencode(target), _bytes(fstype), flags, _bytes(data))


def umount2(target: str | bytes, flags: int = 0) -> None:
    """umount2(2)"""
    try:
        _umount2(os.fsencode(target), flags)
    except OSError as error:
        raise OSError(error.errno, f"umount2: {os.strerror(error.errno or 0)}", target) from None


def unshare(flags: int) -> None:
    """unshare(2). In a threaded process only for NEWNET, NEWUTS, NEWIPC, FS, and for the calling thread alone."""
    _unshare(flags)


def setns(fd: int, nstype: int = 0) -> None:
    """setns(2), for the calling thread alone."""
    _setns(fd, nstype)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)"""
    return int(_prctl(option, arg2, arg3, arg4, arg5))


def syncfs(fd: int) -> None:
    """syncfs(2)"""
    _syncfs(fd)


def reboot(cmd: int) -> None:
    """reboot(2). Does not sync."""
    _reboot(ctypes.c_int(cmd))


def finit_module(fd: int, param_values: str = "", flags: int = 0) -> None:
    """finit_module(2)"""
    number = 313 if os.uname().machine == "x86_64" else 273
    _call("finit_module", number, fd, _bytes(param_values), flags)


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2), for the calling thread; each argument is a 64-bit mask."""
    masks = (effective, permitted, inheritable)
    data = (ctypes.c_uint32 * 6)(*(mask & 0xFFFFFFFF for mask in masks), *(mask >> 32 for mask in masks))
    _capset(ctypes.byref(_CapHeader(0x20080522, 0)), data)  # _LINUX_CAPABILITY_VERSION_3


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def seccomp_set_filter(program: bytes) -> None:
    """seccomp(2), SECCOMP_SET_MODE_FILTER by way of prctl(2); `program` is an array of struct sock_filter."""
    fprog = _SockFprog(len(program) // 8, program)
    _prctl(PR_SET_SECCOMP, 2, ctypes.addressof(fprog), 0, 0)


class _BpfLoad(ctypes.Structure):
    _fields_ = (
        ("prog_type", ctypes.c_uint32), ("insn_cnt", ctypes.c_uint32), ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64), ("unused", ctypes.c_uint64 * 12),
    )  # fmt: skip


class _BpfAttach(ctypes.Structure):
    _fields_ = (
        ("target_fd", ctypes.c_uint32), ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32), ("attach_flags", ctypes.c_uint32),
    )  # fmt: skip


def bpf_load_device_program(instructions: bytes) -> int:
    """bpf(2), BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program: its descriptor."""
    code, words = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"Apache-2.0")
    attributes = _BpfLoad(15, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(words))
    return _call("bpf", _nr_bpf(), 5, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)))


def bpf_attach_to_cgroup(program: int, cgroup: int) -> None:
    """bpf(2), BPF_PROG_ATTACH as BPF_CGROUP_DEVICE, with BPF_F_ALLOW_MULTI: those above must allow it, too."""
    attributes = _BpfAttach(cgroup, program, 6, 2)
    _call("bpf", _nr_bpf(), 8, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)))


def _nr_bpf() -> int:
    return 321 if os.uname().machine == "x86_64" else 280


def sync_file_range(fd: int, offset: int, nbytes: int, flags: int) -> None:
    """sync_file_range(2). With WRITE alone it starts the writing of dirty pages and does not wait for it."""
    _sync_file_range(fd, offset, nbytes, flags)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2). With KEEP_SIZE the blocks are the file's, also beyond its end, and nobody sees them."""
    _fallocate(fd, mode, offset, length)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)"""
    number = 155 if os.uname().machine == "x86_64" else 41
    _call("pivot_root", number, _bytes(new_root), _bytes(put_old), path=new_root)


def fsopen(fstype: str, flags: int = FSOPEN_CLOEXEC) -> int:
    """fsopen(2): a file system context."""
    return _call("fsopen", _NR_FSOPEN, _bytes(fstype), ctypes.c_uint(flags), path=fstype)


def fsconfig(fd: int, cmd: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """fsconfig(2)"""
    _call(
        "fsconfig", _NR_FSCONFIG, fd, ctypes.c_uint(cmd), _bytes(key), _bytes(value), aux,
        path=f"{key or ''}={value or ''}",
    )  # fmt: skip


def fsmount(fd: int, flags: int = FSMOUNT_CLOEXEC, attributes: int = 0) -> int:
    """fsmount(2): a detached mount."""
    return _call("fsmount", _NR_FSMOUNT, fd, ctypes.c_uint(flags), ctypes.c_uint(attributes))


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None:
    """move_mount(2)"""
    _call(
        "move_mount", _NR_MOVE_MOUNT, from_fd, _bytes(from_path), to_fd, _bytes(to_path), ctypes.c_uint(flags),
        path=to_path,
    )  # fmt: skip


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2)"""
    return _call("open_tree", _NR_OPEN_TREE, dirfd, _bytes(path), ctypes.c_uint(flags), path=path)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64), ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64), ("userns_fd", ctypes.c_uint64),
    )  # fmt: skip


def mount_setattr(
    dirfd: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0, userns_fd: int = 0
) -> None:
    """mount_setattr(2)"""
    attr = _MountAttr(attr_set, attr_clr, propagation, userns_fd)
    size = ctypes.c_size_t(ctypes.sizeof(attr))
    _call(
        "mount_setattr", _NR_MOUNT_SETATTR, dirfd, _bytes(path), ctypes.c_uint(flags), ctypes.byref(attr), size,
        path=path,
    )  # fmt: skip


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2): an open whose path resolution is confined by `resolve`."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    return _call("openat2", _NR_OPENAT2, dirfd, os.fsencode(path), ctypes.byref(how), size, path=path)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)
