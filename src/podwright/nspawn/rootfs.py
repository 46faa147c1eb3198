"""In the stage: make the container's root file system as the configuration says, and move into it.

Paths of the container are resolved by the kernel below its root, so no symlink of an image leads out. Until the end the
stage's /proc is there, by which a descriptor is a path. OCI runtime specification, config-linux.md.
"""

from __future__ import annotations

import errno
import os
import posixpath
import socket
import stat
from pathlib import Path
from typing import Any

from podwright.linux import syscalls as sys
from podwright.linux.paths import make_directories_in_root, open_in_root
from podwright.nspawn.plan import MountStep, RootPlan

_ROOT = Path("/container")
_MOVE_EMPTY_TO_EMPTY = sys.MOVE_MOUNT_F_EMPTY_PATH | 0x40  # MOVE_MOUNT_T_EMPTY_PATH
# config-linux.md, "Default Devices" and "Dev symbolic links".
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}  # fmt: skip
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def enter(plan: RootPlan) -> None:
    """When it returns, / is the container's. Raises OSError with what could not be done, and where."""
    sys.mount(None, "/", None, sys.MS_REC | sys.MS_PRIVATE)
    sys.move_mount(plan.tree, "", sys.AT_FDCWD, str(_ROOT), sys.MOVE_MOUNT_F_EMPTY_PATH)
    sys.mount(None, str(_ROOT), None, sys.MS_REC | sys.MS_PRIVATE)
    if plan.cgroup_namespace >= 0:
        sys.setns(plan.cgroup_namespace, sys.CLONE_NEWCGROUP)
    for step in plan.mounts:
        _mount(step)
    if plan.hostname:
        socket.sethostname(plan.hostname)
    _set_sysctls(plan.sysctls)
    if any(step.destination.rstrip("/") == "/dev" and step.tree < 0 for step in plan.mounts):
        _fill_dev()
    for device in plan.devices:
        if device["path"] != "/dev/ptmx":  # that of the container's devpts is there already
            _make_device(device)
    for path in plan.masked:
        _mask(path)
    for path in plan.read_only_paths:
        _make_read_only(path)
    _pivot()
    if plan.read_only:
        sys.mount_setattr(sys.AT_FDCWD, "/", 0, attr_set=sys.MOUNT_ATTR_RDONLY)
    if plan.propagation:
        sys.mount(None, "/", None, plan.propagation)


def _pivot() -> None:
    """The stage goes with the umount, but for what this process still has open. pivot_root(2), NOTES."""
    os.chdir(_ROOT)
    sys.pivot_root(".", ".")
    sys.umount2(".", sys.MNT_DETACH)
    os.chdir("/")


def _mount(step: MountStep) -> None:
    target = _target(step.destination, is_directory=step.is_directory)
    try:
        if step.tree >= 0:
            sys.move_mount(step.tree, "", target, "", _MOVE_EMPTY_TO_EMPTY)
        else:
            # /dev is filled later, and the cgroups come now.
            late = sys.MS_RDONLY if step.fstype == "tmpfs" and step.members else 0
            sys.mount(step.source, f"/proc/self/fd/{target}", step.fstype, step.flags & ~late, step.data)
    except OSError as error:
        words = f"mounts: {step.destination} ({step.fstype or 'bind'}): {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, words) from error
    finally:
        os.close(target)
    for name, tree in (step.members or {}).items():
        _mount(MountStep(posixpath.join(step.destination, name), tree=tree))
    mounted = open_in_root(_ROOT, step.destination, os.O_PATH)
    try:
        if step.members and step.flags & sys.MS_RDONLY:
            sys.mount_setattr(mounted, "", sys.AT_EMPTY_PATH, attr_set=sys.MOUNT_ATTR_RDONLY)
        if step.propagation:
            flags = sys.AT_EMPTY_PATH | (sys.AT_RECURSIVE if step.propagation & sys.MS_REC else 0)
            sys.mount_setattr(mounted, "", flags, propagation=step.propagation & ~sys.MS_REC)
    finally:
        os.close(mounted)


def _target(path: str, *, is_directory: bool) -> int:
    """A place for a mount, made where there is none."""
    try:
        if is_directory:
            make_directories_in_root(_ROOT, path)
            return open_in_root(_ROOT, path, os.O_PATH | os.O_DIRECTORY)
        try:
            return open_in_root(_ROOT, path, os.O_PATH)
        except FileNotFoundError:
            make_directories_in_root(_ROOT, posixpath.dirname(path))
            os.close(open_in_root(_ROOT, path, os.O_WRONLY | os.O_CREAT, 0o644))
            return open_in_root(_ROOT, path, os.O_PATH)
    except OSError as error:
        raise OSError(error.errno, f"mounts: {path} can't be made: {os.strerror(error.errno or 0)}") from error


def _set_sysctls(sysctls: dict[str, str]) -> None:
    """By a proc of our own: the stage's is read-only there, the container's may not exist."""
    if not sysctls:
        return
    context = sys.fsopen("proc")
    sys.fsconfig(context, sys.FSCONFIG_CMD_CREATE)
    proc = sys.fsmount(context)
    for name, value in sysctls.items():
        try:
            fd = os.open(f"sys/{name.replace('.', '/')}", os.O_WRONLY, dir_fd=proc)
            os.write(fd, value.encode())
            os.close(fd)
        except OSError as error:
            raise OSError(error.errno, f"linux.sysctl: {name}: {os.strerror(error.errno or 0)}") from error
    os.close(proc)
    os.close(context)


def _fill_dev() -> None:
    dev = open_in_root(_ROOT, "/dev", os.O_RDONLY | os.O_DIRECTORY)
    for name, numbers in _DEVICES.items():
        _make_node(dev, name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
    for name, target in _LINKS.items():
        try:
            os.symlink(target, name, dir_fd=dev)
        except FileExistsError:
            continue
    os.close(dev)


def _make_device(device: dict[str, Any]) -> None:
    """linux.devices[]."""
    directory, name = posixpath.split(posixpath.normpath(device["path"]))
    make_directories_in_root(_ROOT, directory)
    parent = open_in_root(_ROOT, directory, os.O_RDONLY | os.O_DIRECTORY)
    mode = _KINDS[device["type"]] | (device.get("fileMode") or 0o666) & 0o7777
    try:
        _make_node(parent, name, mode, os.makedev(device.get("major", 0), device.get("minor", 0)))
        os.chown(name, device.get("uid") or 0, device.get("gid") or 0, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise OSError(error.errno, f"linux.devices: {device['path']}: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(parent)


def _make_node(directory: int, name: str, mode: int, device: int) -> None:
    try:
        os.mknod(name, mode, device, dir_fd=directory)
    except FileExistsError:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if (stat.S_IFMT(found.st_mode), found.st_rdev) != (stat.S_IFMT(mode), device):
            raise
    os.chmod(name, stat.S_IMODE(mode), dir_fd=directory)  # whatever the umask


def _mask(path: str) -> None:
    """linux.maskedPaths[]; what is not there needs no mask."""
    try:
        target = open_in_root(_ROOT, path, os.O_PATH)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise
    place = f"/proc/self/fd/{target}"
    if stat.S_ISDIR(os.fstat(target).st_mode):
        sys.mount("tmpfs", place, "tmpfs", sys.MS_RDONLY, "size=0k")
    else:
        sys.mount("/dev/null", place, None, sys.MS_BIND)
    os.close(target)


def _make_read_only(path: str) -> None:
    """linux.readonlyPaths[]."""
    try:
        target = open_in_root(_ROOT, path, os.O_PATH)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise
    place = f"/proc/self/fd/{target}"
    sys.mount(place, place, None, sys.MS_BIND | sys.MS_REC)
    os.close(target)
    mounted = open_in_root(_ROOT, path, os.O_PATH)
    sys.mount_setattr(mounted, "", sys.AT_EMPTY_PATH, attr_set=sys.MOUNT_ATTR_RDONLY)
    os.close(mounted)
