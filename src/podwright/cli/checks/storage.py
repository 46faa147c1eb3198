"""Storage: whether overlayfs works on the daemon's root, how its file system is mounted, and what is left on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from podwright.cli.checks.finding import Finding, fail, ok, warn
from podwright.cli.output import size
from podwright.linux import mounts, syscalls

_LEAST_BYTES, _FEW_BYTES = 100 * 10**6, 2 * 10**9
_LEAST_SHARE, _FEW_SHARE = 0.01, 0.1


def findings(root: Path) -> Iterator[Finding]:
    """All of this file. A root that doesn't exist yet is looked at where it would be made."""
    place = root
    while not place.is_dir():
        place = place.parent
    yield from mount_options(mounts.mount_of(place), root)
    yield overlay(place)
    yield from room(os.statvfs(place), place)


def mount_options(mount: mounts.MountInfo | None, root: Path) -> Iterator[Finding]:
    """Options of the file system that containers would suffer from."""
    if mount is None:
        return
    where = f"{root} on {mount.fstype} mounted at {mount.target}"
    if "ro" in mount.options:
        yield fail("root", f"{where} is read-only", "mount it writable, or move it: state.root")
    elif "noexec" in mount.options:
        yield fail("root", f"{where} is noexec: no program in a container runs", "remount it exec, or set state.root")
    elif {"nosuid", "nodev"} & set(mount.options):
        yield warn("root", f"{where} is nosuid or nodev: so are containers", "remount it suid,dev, or set state.root")
    else:
        yield ok("root", where)


def overlay(place: Path) -> Finding:
    """Mount an overlay there for a moment, and delete a file through it: what d_type and whiteouts are for."""
    check = "overlayfs on root"
    try:
        trial = Path(tempfile.mkdtemp(prefix=".podwright-doctor-", dir=place))
    except OSError as error:
        return fail(check, f"can't write to {place}: {error.strerror}", "run doctor as root, or set state.root")
    try:
        return try_overlay(trial, place)
    except OSError as error:
        message = f"overlayfs can't be mounted on {place}: {error.strerror}"
        return fail(check, message, "put state.root on ext4, xfs (ftype=1) or btrfs, and run doctor as root")
    finally:
        mounts.unmount(trial / "merged", detach=True)
        shutil.rmtree(trial, ignore_errors=True)


def try_overlay(trial: Path, place: Path) -> Finding:
    """The trial itself. Raises OSError."""
    for name in ("lower", "upper", "work", "merged"):
        (trial / name).mkdir()
    (trial / "lower/file").touch()
    options = f"lowerdir={trial}/lower,upperdir={trial}/upper,workdir={trial}/work"
    syscalls.mount("overlay", os.fspath(trial / "merged"), "overlay", 0, options)
    (trial / "merged/file").unlink()
    if os.listdir(trial / "merged"):
        return fail(
            "overlayfs on root", f"the file system of {place} tells no file types (d_type)",
            "make it anew with them: mkfs.xfs -n ftype=1",
        )  # fmt: skip
    return ok("overlayfs on root", "works, with whiteouts")


def room(usage: os.statvfs_result, place: Path) -> Iterator[Finding]:
    """Bytes and inodes that are left."""
    free = usage.f_bavail * usage.f_frsize
    share = usage.f_bavail / usage.f_blocks if usage.f_blocks else 1.0
    message, mend = f"{size(free)} free ({share:.0%}) at {place}", "podwright rmi --prune, or a bigger disk"
    if free < _LEAST_BYTES or share < _LEAST_SHARE:
        yield fail("space", message, mend)
    elif free < _FEW_BYTES or share < _FEW_SHARE:
        yield warn("space", message, mend)
    else:
        yield ok("space", message)
    if usage.f_files == 0:
        return  # btrfs and others make inodes as they need them
    inodes = usage.f_favail / usage.f_files
    if inodes < _FEW_SHARE:
        level = fail if inodes < _LEAST_SHARE else warn
        yield level("inodes", f"{usage.f_favail} free ({inodes:.0%}) at {place}", mend)
    else:
        yield ok("inodes", f"{inodes:.0%} free")
