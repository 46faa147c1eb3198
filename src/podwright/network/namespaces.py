"""A pod's network, IPC and UTS namespaces: made in a thread, pinned by bind mounts, held by no process.

unshare(2) and setns(2) of these kinds work for one thread of a threaded process, so each piece of work here gets a
thread of its own that ends with it; the pool's threads must never change namespaces. `sandbox/` calls `pin` and
`unpin`; streaming and stats use `run_in_netns`. User namespaces can't be made this way: `linux/userns` has a process
make one, with the others in it, and `pin` pins those.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from podwright.base.errors import FailedPrecondition, Internal, InvalidArgument
from podwright.linux import links, mounts
from podwright.linux import syscalls as sys
from podwright.linux.process import ProcessFailed, run

T = TypeVar("T")
HOSTNAME_LIMIT = 64  # uname(2), __NEW_UTS_LEN

_FLAGS = {"net": sys.CLONE_NEWNET, "ipc": sys.CLONE_NEWIPC, "uts": sys.CLONE_NEWUTS}


async def pin(
    paths: Mapping[str, Path], *, hostname: str = "", sysctls: Mapping[str, str] | None = None, holder: int = 0
) -> None:
    """Make one namespace of each kind in `paths` (net, ipc, uts) and pin it there; all or nothing.

    `holder`: the process whose namespaces are pinned instead, its user namespace (user) as well. In that case
    `sysctls` are those of the network namespace only; `write_ipc_sysctls` is for the others.

    The network namespace comes with its loopback up, the UTS namespace with `hostname` (at most 64 bytes).
    `sysctls` (dotted names, checked by the caller to be of these namespaces) are written from inside. Raises
    InvalidArgument for a hostname or sysctl the kernel refuses, Internal where namespaces can't be made.
    """
    if len(hostname.encode()) > HOSTNAME_LIMIT:
        raise InvalidArgument(f"hostname {hostname!r} has more than {HOSTNAME_LIMIT} bytes")
    if "net" not in paths and any(key.startswith("net.") for key in sysctls or ()):
        raise InvalidArgument("net.* sysctls need a network namespace of the pod's own")

    def work() -> None:
        try:
            _pin(paths, hostname, sysctls or {}, holder)
        except BaseException:
            unpin(paths.values())
            raise

    await in_own_thread(work, name="pin")


async def write_ipc_sysctls(holder: int, sysctls: Mapping[str, str]) -> None:
    """Write sysctls of the IPC namespace of `holder`, which belongs to its user namespace. Raises InvalidArgument.

    The kernel lets nobody but that namespace's own root write them, so a process becomes it; ipc/ipc_sysctl.c.
    """
    for key, value in sysctls.items():
        argv = ["nsenter", "--target", str(holder), "--user", "--ipc", "--setuid", "0", "--setgid", "0"]
        try:
            await run([*argv, "sh", "-c", 'printf %s "$2" > "$1"', "sh", _sysctl_path(key), value], timeout_s=10)
        except ProcessFailed as error:
            raise InvalidArgument(
                f"sysctl {key} = {value!r}: {error.stderr.decode(errors='replace').strip()}"
            ) from error


def unpin(paths: Iterable[Path]) -> None:
    """Let go of pinned namespaces and remove the files; absent is success. About 0.05 ms each."""
    for path in paths:
        mounts.unmount(path, detach=True)
        path.unlink(missing_ok=True)


def is_pinned(path: Path) -> bool:
    """Whether a namespace is mounted at `path`: all of them, and nothing else, live on the nsfs device."""
    try:
        return path.stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


async def run_in_netns(path: Path, function: Callable[[], T]) -> T:
    """Run `function` in a thread that is in the network namespace pinned at `path`.

    A socket made there belongs to that namespace for good, so make it there and use it in the event loop.
    Raises FailedPrecondition when there is no namespace at `path`, and whatever `function` raises.
    """

    def work() -> T:
        enter_netns(path)
        return function()

    return await in_own_thread(work, name="netns")


async def in_own_thread(function: Callable[[], T], *, name: str) -> T:
    """Run `function` in a thread that is not reused. A caller that is cancelled still waits for its end first:
    a thread can't be stopped, and an undo has to find everything that it did."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def body() -> None:
        try:
            result = function()
        except BaseException as error:
            _tell(loop, _fail, done, error)
        else:
            _tell(loop, done.set_result, result)

    threading.Thread(target=body, name=name, daemon=True).start()
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait({done})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        done.exception()
        raise cancelled
    return done.result()


def _fail(done: asyncio.Future[T], error: BaseException) -> None:
    done.set_exception(error)


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:  # the loop was closed while we worked: nobody waits any more
        return


def _pin(paths: Mapping[str, Path], hostname: str, sysctls: Mapping[str, str], holder: int) -> None:
    """In a thread of its own: it ends in the new namespaces."""
    for path in paths.values():
        if path.exists():  # left of an attempt that was cut short
            unpin([path])
        path.touch(mode=0o600)
    process = f"/proc/{holder}" if holder else "/proc/thread-self"
    try:
        if holder:
            _enter(process, paths)
        else:
            _make(paths)
        for kind, path in paths.items():
            sys.mount(f"{process}/ns/{kind}", os.fspath(path), None, sys.MS_BIND)
    except OSError as error:
        raise Internal(f"can't make namespaces {', '.join(paths)}: {error.strerror}; {_hint(error)}") from error
    if "uts" in paths and hostname:
        socket.sethostname(hostname)
    if "net" in paths:
        links.set_up("lo")  # what the CNI loopback plugin does, 4 ms cheaper
    for key, value in sysctls.items():
        _write_sysctl(key, value)


def _make(kinds: Iterable[str]) -> None:
    flags = 0
    for kind in kinds:
        flags |= _FLAGS[kind]
    sys.unshare(flags)


def _enter(process: str, kinds: Iterable[str]) -> None:
    """A thread can't enter a user namespace, and need not: root may do all in those that belong to it."""
    for kind in kinds:
        if kind in _FLAGS:
            fd = os.open(f"{process}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                sys.setns(fd, _FLAGS[kind])
            finally:
                os.close(fd)


def _hint(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "raise the sysctls user.max_net_namespaces, user.max_ipc_namespaces and user.max_uts_namespaces"
    return "the daemon has to run as root with CAP_SYS_ADMIN, on a kernel with these namespaces"


def _write_sysctl(key: str, value: str) -> None:
    """/proc/sys shows the sysctls of the namespaces of the thread that looks. proc(5)."""
    try:
        fd = os.open(_sysctl_path(key), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise InvalidArgument(f"sysctl {key}: this kernel has none of that name in a pod's namespaces") from None
    except OSError as error:
        raise InvalidArgument(f"sysctl {key} = {value!r}: {error.strerror}") from error


def _sysctl_path(key: str) -> str:
    """Of a dotted name, in which a slash stands for a dot in an interface's name: sysctl(8)."""
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))


def enter_netns(path: Path) -> None:
    """Put the calling thread, which must end thereafter, into a pinned namespace. Raises FailedPrecondition."""
    if not is_pinned(path):
        raise FailedPrecondition(f"there is no network namespace at {path}: its pod has ended")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sys.setns(fd, sys.CLONE_NEWNET)
    finally:
        os.close(fd)
