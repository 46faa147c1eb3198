"""conmon as the monitor: one small process a container, our child while we live and init's from then on.

conmon runs the runtime, writes the container's pid (or the runtime's words) to a pipe, its output in CRI format to
the log, and its exit code to a file named by its id. Facts of version 2.1.6 that shape this file: `--sync` keeps it
from forking twice; `--full-attach` puts the attach socket into the bundle without a symlink; out-of-memory events
leave a file `oom` in its working directory, which is the bundle; a log path ends at its first colon.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, Internal
from podwright.base.files import write_plain
from podwright.base.locks import KeyedLocks
from podwright.base.log import get_logger
from podwright.base.streams import ProcessStreams
from podwright.base.tasks import shielded
from podwright.linux import pidfd
from podwright.linux.cgroup_attach import short_attach
from podwright.linux.descriptors import unread_bytes
from podwright.linux.process import Process, find_program, readable, spawn
from podwright.monitor.attach import Attachments
from podwright.monitor.base import LOST_EXIT_CODE, Exit, Launch, Monitored, Settings
from podwright.monitor.log_file import create_log, is_open_in
from podwright.runtime.words import error_of, failure

log = get_logger(__name__)

_SYNC_LIMIT_BYTES = 64 * 1024
_PID_FILE, _MONITOR_PID_FILE, _RUNTIME_LOG = "pidfile", "monitor.pid", "runtime.log"
_CONTROL, _WINDOW_SIZE, _ATTACH, _OOM = "ctl", "winsz", "attach", "oom"
# Newer versions of conmon ignore larger windows.
_SIZE_LIMIT = 1000
_FIFO_POLL_S = 0.002
_SUN_PATH_BYTES = 107
_CONSOLE_SOCKET = "conmon-term.XXXXXX"
_REOPEN_TIMEOUT_S, _REOPEN_POLL_S = 5.0, 0.002
# How long a monitor may take to end that has nothing left to do.
_ITSELF_END_S = 1.0


class _Message(msgspec.Struct):
    """What conmon writes to the pipe: the container's pid, or -1 and what the runtime said."""

    pid: int = -1
    message: str = ""


class Conmon:
    """Implements `base.Monitor`. `exits`: the directory for exit files; its parent takes console sockets."""

    def __init__(self, settings: Settings, exits: Path) -> None:
        self._settings, self._exits = settings, exits
        self._children: dict[int, Process] = {}
        self._program: Path | None = None
        self._attachments = Attachments(settings.attach_lag_max_bytes)
        self._telling = KeyedLocks()

    async def create(self, launch: Launch) -> Monitored:
        program = self._find_program()
        if launch.log_path is not None:
            create_log(launch.log_path)
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        complaints = os.memfd_create("conmon")
        try:
            try:
                monitor = spawn(
                    [program, *self._arguments(launch)], stderr=complaints, env=self._environment(launch, write_fd),
                    pass_fds=[write_fd], cwd=launch.bundle, new_session=True,
                )  # fmt: skip
            finally:
                os.close(write_fd)
            with short_attach():
                return await self._await_container(launch, monitor, read_fd, complaints)
        finally:
            os.close(complaints)
            os.close(read_fd)

    def require(self) -> None:
        """Raises FailedPrecondition when the program is not there."""
        self._find_program()

    def _find_program(self) -> Path:
        if self._program is None:
            self._program = find_program(self._settings.path)
        if self._program is None:
            raise FailedPrecondition(
                f"monitor {self._settings.path!r} is not installed (Debian: apt-get install conmon)"
            )
        return self._program

    def _arguments(self, launch: Launch) -> list[str]:
        bundle = launch.bundle
        log_path = f"k8s-file:{launch.log_path}" if launch.log_path else "off:"
        arguments = [
            "--sync", "--cid", launch.container_id, "--cuuid", launch.container_id, "--name", launch.name,
            "--bundle", str(bundle), "--container-pidfile", str(bundle / _PID_FILE), "--exit-dir", str(self._exits),
            "--log-path", log_path, "--log-level", "error", "--no-sync-log", "--full-attach",
            "--runtime", str(launch.command.path),
        ]  # fmt: skip
        arguments += [f"--runtime-arg={word}" for word in launch.command.with_log(bundle / _RUNTIME_LOG)]
        if self._settings.log_size_max_bytes > 0:
            arguments += ["--log-size-max", str(self._settings.log_size_max_bytes)]
        if launch.terminal:
            arguments.append("--terminal")
        if launch.stdin:
            arguments.append("--stdin")
            if not launch.stdin_once:
                arguments.append("--leave-stdin-open")
        if launch.restore_from is not None:
            arguments += ["--restore", str(launch.restore_from)]
        return arguments

    def _environment(self, launch: Launch, sync_fd: int) -> dict[str, str]:
        """The plain C locale saves conmon the reading of a dozen locale files. TMPDIR is for the console socket."""
        directory = self._exits.parent
        if launch.terminal and len(os.fsencode(directory / _CONSOLE_SOCKET)) > _SUN_PATH_BYTES:
            raise FailedPrecondition(f"{directory} is too long a path for a console socket: give a shorter --run")
        path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        return {"PATH": path, "LC_ALL": "C", "TMPDIR": str(directory), "_OCI_SYNCPIPE": str(sync_fd)}

    async def _await_container(self, launch: Launch, monitor: Process, read_fd: int, complaints: int) -> Monitored:
        reported = False
        try:
            # Written at once, so that after a crash in this very call the monitor is found and ended.
            write_plain(launch.bundle / _MONITOR_PID_FILE, str(monitor.pid).encode())
            identity = pidfd.identify(monitor.pid)
            async with asyncio.timeout(self._settings.create_timeout_s):
                line = await _read_line(read_fd)
            reported = True
            process = _created(launch, line, complaints)
            if identity is None:
                raise Internal(f"the monitor of container {launch.container_id[:13]} ended at once")
        except BaseException as error:
            await shielded(_end(monitor, itself=reported), name="end failed monitor")
            self.forget(launch.container_id)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    f"the runtime did not create container {launch.container_id[:13]} within "
                    f"{self._settings.create_timeout_s:g} s"
                ) from None
            raise
        self._children[monitor.pid] = monitor
        monitor.when_ended(lambda: self._children.pop(monitor.pid, None))
        return Monitored(launch.container_id, process, identity, str(launch.bundle), str(launch.log_path or ""))

    async def wait_exit(self, monitored: Monitored) -> Exit:
        await pidfd.wait_end(monitored.monitor)
        if (ended := self._exit_file(monitored)) is not None:
            return ended
        log.warning("a container's monitor is gone, so its own process is watched", container=monitored.container_id)
        await pidfd.wait_end(monitored.process)
        return self._exit_file(monitored) or _lost()

    async def exit_now(self, monitored: Monitored) -> Exit | None:
        if pidfd.is_alive(monitored.monitor):
            return None
        ended = self._exit_file(monitored)
        if ended is None and not pidfd.is_alive(monitored.process):
            return _lost()
        return ended

    def _exit_file(self, monitored: Monitored) -> Exit | None:
        path = self._exits / monitored.container_id
        try:
            text, finished_at = path.read_text(), path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        oom = (Path(monitored.bundle) / _OOM).exists()
        try:
            return Exit(exit_code=int(text), finished_at_ns=finished_at, oom_hint=oom)
        except ValueError:
            return Exit(exit_code=LOST_EXIT_CODE, finished_at_ns=finished_at, oom_hint=oom, lost=True)

    def forget(self, container_id: str) -> None:
        (self._exits / container_id).unlink(missing_ok=True)

    async def abandon(self, container_id: str, bundle: Path) -> None:
        monitor = _find_monitor(bundle)
        if monitor is not None:
            container = _container_of(monitor, bundle)
            if container:
                # The monitor then reaps it and ends by itself; killed, it would leave a zombie.
                os.kill(container, signal.SIGKILL)
            try:
                async with asyncio.timeout(_ITSELF_END_S if container is not None else 0):
                    await pidfd.wait_end(monitor)
            except TimeoutError:
                pidfd.send_signal(monitor, signal.SIGKILL)
                await pidfd.wait_end(monitor)
        self.forget(container_id)

    async def reopen_log(self, monitored: Monitored) -> None:
        path = Path(monitored.log_path)
        if is_open_in(monitored.monitor.pid, path):
            return  # nobody has renamed it: a new file would replace its lines
        # Made here, with our mode: conmon truncates it and renames it to the path, and would die if it could not.
        replacement = path.with_name(path.name + ".tmp")
        replacement.unlink(missing_ok=True)
        create_log(replacement)
        inode = replacement.stat().st_ino
        try:
            async with asyncio.timeout(_REOPEN_TIMEOUT_S):
                await self._tell(monitored, b"2 0 0\n")
                while _inode(path) != inode:  # noqa: ASYNC110 - conmon gives no other sign
                    await asyncio.sleep(_REOPEN_POLL_S)
        except TimeoutError:
            raise FailedPrecondition(f"the monitor did not open {path} within {_REOPEN_TIMEOUT_S:g} s") from None
        finally:
            replacement.unlink(missing_ok=True)

    async def resize(self, monitored: Monitored, *, width: int, height: int) -> None:
        width, height = min(width, _SIZE_LIMIT), min(height, _SIZE_LIMIT)
        await self._tell(monitored, f"1 {height} {width}\n".encode())

    async def _tell(self, monitored: Monitored, line: bytes) -> None:
        """Write to conmon's control fifo. Raises FailedPrecondition when nobody reads it.

        Of lines that it finds together conmon obeys the first again and again, so they are given one by one; what it
        hands on to itself, through another fifo, is waited for as well.
        """
        async with self._telling.hold(monitored.container_id):
            with _open_fifo(monitored, _CONTROL) as control, _open_fifo(monitored, _WINDOW_SIZE) as window_size:
                while unread_bytes(control) or unread_bytes(window_size):  # noqa: ASYNC110 - no sign but this
                    await asyncio.sleep(_FIFO_POLL_S)
                os.write(control, line)

    async def attach(self, monitored: Monitored, streams: ProcessStreams, *, stdin: bool, stdin_once: bool) -> None:
        async def resize(width: int, height: int) -> None:
            await self.resize(monitored, width=width, height=height)

        await self._attachments.attach(
            monitored, Path(monitored.bundle) / _ATTACH, streams, stdin=stdin, stdin_once=stdin_once, resize=resize
        )  # fmt: skip


def _created(launch: Launch, line: bytes, complaints: int) -> pidfd.ProcessIdentity:
    """The container's process, or the error that the runtime, or conmon itself, gave a reason for."""
    message = parse_sync(line)
    process = pidfd.identify(message.pid) if message.pid > 0 else None
    if process is not None:
        return process
    said = error_of(_read(launch.bundle / _RUNTIME_LOG)) or message.message
    said = said or os.pread(complaints, 4096, 0).decode(errors="replace").strip()
    program = "runtime" if message.message else "monitor"
    raise failure("create", launch.container_id, said or "it ended without a word", program=program)


def parse_sync(line: bytes) -> _Message:
    """A line of the pipe; one that can't be read is a failure whose reason it is."""
    try:
        return msgspec.json.decode(line, type=_Message)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Message(-1, line.decode(errors="replace").strip())


async def _read_line(fd: int) -> bytes:
    """One line, or less where conmon ended; conmon writes nothing after it."""
    os.set_blocking(fd, False)
    data = b""
    while b"\n" not in data and len(data) < _SYNC_LIMIT_BYTES:
        await readable(fd)
        chunk = os.read(fd, _SYNC_LIMIT_BYTES)
        if not chunk:
            break
        data += chunk
    return data


async def _end(monitor: Process, *, itself: bool) -> None:
    """Kill a monitor and the runtime below it; one that has reported its failure ends `itself`, in a moment."""
    try:
        async with asyncio.timeout(_ITSELF_END_S if itself else 0):
            await monitor.wait()
    except TimeoutError:
        await monitor.kill()


def _find_monitor(bundle: Path) -> pidfd.ProcessIdentity | None:
    """The conmon of a bundle: by its pid file; without one (a crash before it was written) among all processes."""
    try:
        pids = [int((bundle / _MONITOR_PID_FILE).read_text())]
    except (FileNotFoundError, ValueError):
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    for pid in pids:
        words = _read(Path(f"/proc/{pid}/cmdline")).split(b"\0")
        if os.fsencode(bundle) in words and b"--container-pidfile" in words:
            return pidfd.identify(pid)
    return None


def _container_of(monitor: pidfd.ProcessIdentity, bundle: Path) -> int | None:
    """The pid of the container's process, 0 when it has ended, None while there is none yet.

    Only the monitor reaps it, so a child of the monitor with the pid in the file is it.
    """
    try:
        pid = int((bundle / _PID_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if f"PPid:\t{monitor.pid}\n".encode() in _read(Path(f"/proc/{pid}/status")) else 0


@contextmanager
def _open_fifo(monitored: Monitored, name: str) -> Iterator[int]:
    """For writing. Raises FailedPrecondition when nobody reads it."""
    try:
        fd = os.open(Path(monitored.bundle) / name, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FailedPrecondition(f"the container's monitor is gone: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _lost() -> Exit:
    return Exit(exit_code=LOST_EXIT_CODE, finished_at_ns=time.time_ns(), lost=True)
