"""The overlay mount itself, whatever the number of layers and the kernel's age.

From Linux 6.5 on each layer is a parameter of its own (fsconfig(2), `lowerdir+`). Older kernels take all options in
one page; there the names of layers are a few characters relative to a directory, and the mount is made by a thread
that has a working directory of its own. Both reach the kernel's limit of 500 layers: with names of three characters
500 layers take 1.8 kB of the 4 kB page. kernel.org: filesystems/overlayfs, "Multiple lower layers".
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from podwright.base.errors import InvalidArgument
from podwright.linux import syscalls as sys
from podwright.linux.idmap import IdMaps, attach, clone_idmapped

T = TypeVar("T")

MAX_LAYERS = 500
_MAX_PARAMETER = 255  # fsconfig(2) copies at most so many characters of a value
# Files keep working when a lower one is replaced offline, and containers never share an upper directory.
_OPTIONS = {"index": "off"}


def mount_overlay(
    layers: Path,
    names: Sequence[str],
    target: Path,
    *,
    writable: Path | None = None,
    read_only: bool = False,
    userns: Path | None = None,
    label: str = "",
) -> None:
    """Mount the directories `names` below `layers`, the uppermost first, at `target`.

    `writable` holds the directories `upper` and `work`. `userns`: the user namespace to whose ids those of the layers
    are mapped; what is in `upper` is not mapped, and has the owners that it shows. `label`: the SELinux context of all.
    Raises InvalidArgument beyond the kernel's limit, FailedPrecondition where layers can't be mapped, OSError.
    """
    check_depth(len(names))
    options = _OPTIONS | ({"context": label} if label else {})
    if userns is not None:
        mount_fd: int | None = _open_idmapped(layers, names, target, writable, userns, options, read_only=read_only)
    else:
        mount_fd = _open_by_parameters(layers, names, writable, options, _attributes(read_only=read_only))
    if mount_fd is None:
        _mount_by_page(layers, names, writable, target, options, read_only=read_only)
        return
    try:
        attach(mount_fd, target)
    finally:
        os.close(mount_fd)


def _attributes(*, read_only: bool) -> int:
    return sys.MOUNT_ATTR_RDONLY if read_only else 0


def _open_idmapped(
    layers: Path, names: Sequence[str], target: Path, writable: Path | None, userns: Path,
    options: Mapping[str, str], *, read_only: bool,
) -> int:  # fmt: skip
    """A detached mount over layers whose owners are mapped.

    overlayfs itself can't be mounted with mapped ids, its layers can (Linux 5.19). So a thread takes a mount
    namespace of its own in which an idmapped mount lies over the directory of all layers, and mounts from there:
    nobody else ever sees that mount, and no crash leaves it behind.
    """
    layers_fd = clone_idmapped(layers, userns)

    def work() -> int:
        sys.unshare(sys.CLONE_NEWNS)
        sys.mount(None, "/", None, sys.MS_REC | sys.MS_PRIVATE)
        attach(layers_fd, layers)
        mount_fd = _open_by_parameters(layers, names, writable, options, _attributes(read_only=read_only))
        if mount_fd is not None:
            return mount_fd
        _mount_by_page(layers, names, writable, target, options, read_only=read_only)
        return sys.open_tree(sys.AT_FDCWD, os.fspath(target), sys.OPEN_TREE_CLONE | sys.OPEN_TREE_CLOEXEC)

    try:
        return _in_thread(work, name="idmapped overlay mount")
    finally:
        os.close(layers_fd)


def own_as_mapped(directory: Path, maps: IdMaps) -> None:
    """Give a directory that isn't mapped the owner that the same one would show in an idmapped layer."""
    info = directory.stat()
    os.chown(directory, *maps.outside(info.st_uid, info.st_gid))


def check_depth(layers: int) -> None:
    """Raises InvalidArgument when the kernel can't stack so many."""
    if layers > MAX_LAYERS:
        raise InvalidArgument(f"the image needs {layers} layers; the kernel's overlayfs stacks at most {MAX_LAYERS}")


def _open_by_parameters(
    layers: Path, names: Sequence[str], writable: Path | None, options: Mapping[str, str], attributes: int
) -> int | None:
    """A detached mount; None where the kernel knows no `lowerdir+` or a path is too long for a parameter."""
    parameters = [("lowerdir+", os.fspath(layers / name)) for name in names]
    if writable is not None:
        parameters += [("upperdir", os.fspath(writable / "upper")), ("workdir", os.fspath(writable / "work"))]
    if max(len(os.fsencode(value)) for _key, value in parameters) > _MAX_PARAMETER:
        return None
    context = sys.fsopen("overlay")
    try:
        for key, value in [*options.items(), *parameters]:
            sys.fsconfig(context, sys.FSCONFIG_SET_STRING, key, value)
        sys.fsconfig(context, sys.FSCONFIG_CMD_CREATE)
        return sys.fsmount(context, sys.FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        why = _says_why(context)
        if error.errno == errno.EINVAL and not why:
            return None
        words = f"overlay mount: {os.strerror(error.errno or 0)}" + (f" ({why})" if why else "")
        raise OSError(error.errno, words) from error
    finally:
        os.close(context)


def _says_why(context: int) -> str:
    """What the kernel wrote about a failed context (fsopen(2), "read"), less what an old one says of `lowerdir+`."""
    lines = []
    try:
        while line := os.read(context, 1024):
            lines.append(line.decode(errors="replace").strip())
    except OSError:  # ENODATA: that was all
        pass
    return "; ".join(line for line in lines if "lowerdir+" not in line and "Unknown parameter" not in line)


def _mount_by_page(
    layers: Path, names: Sequence[str], writable: Path | None, target: Path, options: Mapping[str, str], *,
    read_only: bool,
) -> None:  # fmt: skip
    # A context has commas in it, which quotes keep from ending it (mount(8), "context=").
    words = [f'{key}="{value}"' if "," in value else f"{key}={value}" for key, value in options.items()]
    words += ["lowerdir=" + ":".join(names)]
    if writable is not None:
        here = os.path.relpath(writable, layers)
        words += [f"upperdir={here}/upper", f"workdir={here}/work"]
    data = ",".join(words)
    if len(data) >= os.sysconf("SC_PAGE_SIZE"):
        raise InvalidArgument(f"the image has {len(names)} layers, more than this kernel takes; Linux 6.5 takes 500")
    flags = sys.MS_RDONLY if read_only else 0

    def mount() -> None:
        sys.unshare(sys.CLONE_FS)  # from here on the working directory is this thread's own
        os.chdir(layers)
        sys.mount("overlay", os.fspath(target.absolute()), "overlay", flags, data)

    _in_thread(mount, name="overlay mount")


def _in_thread(function: Callable[[], T], *, name: str) -> T:
    """Run `function` in a thread that ends with it, for what it changes of the thread's own view of files."""
    results: list[T] = []
    errors: list[Exception] = []

    def body() -> None:
        try:
            results.append(function())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=body, name=name)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def open_overlay(layers: Path, names: Sequence[str], scratch: Path) -> int:
    """A directory descriptor of the read-only union of `names`; nothing stays mounted where others see it.

    `scratch` is an empty directory that is mounted on for a moment, where the kernel makes no detached mount.
    """
    if len(names) == 1:
        return os.open(layers / names[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount_fd = _open_by_parameters(layers, names, None, _OPTIONS, sys.MOUNT_ATTR_RDONLY)
    if mount_fd is not None:
        return mount_fd
    _mount_by_page(layers, names, None, scratch, _OPTIONS, read_only=True)
    try:
        return os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        sys.umount2(os.fspath(scratch), sys.MNT_DETACH)
