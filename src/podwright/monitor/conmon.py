"""conmon as the monitor: one small process a container, which is our child until we go and init's from then on.

conmon writes the container's process id, or -1 and the runtime's words, to a pipe (`_OCI_SYNCPIPE`); the exit code
to a file in the exits directory; and the container's output, in CRI format, to the log. `--sync` keeps it from
forking twice: a millisecond less, and its pidfd tells us when it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, Internal, PodwrightError
from podwright.base.files import disk_error, write_plain
from podwright.base.log import get_logger
from podwright.base.tasks import shielded
from podwright.linux import pidfd
from podwright.linux.process import Process, find_program, spawn
from podwright.monitor.base import LOST_EXIT_CODE, Exit, Launch, Monitored, Settings
from podwright.runtime.cli import start_failure, words_of

log = get_logger(__name__)

_SYNC_LIMIT_BYTES = 64 * 1024
_LOG_MODE = 0o640
_PID_FILE, _MONITOR_PID_FILE, _CONTROL = "pidfile", "monitor.pid", "ctl"
_REOPEN_LOG = b"2 0 0\n"


class Conmon:
    """Implements `monitor.base.Monitor`."""

    def __init__(self, settings: Settings, exits: Path) -> None:
        self._settings, self._exits = settings, exits
        self._children: dict[int, Process] = {}

    async def create(self, launch: Launch) -> Monitored:
        program = find_program(self._settings.path)
        if program is None:
            raise FailedPrecondition(
                f"monitor {self._settings.path!r} is not installed (Debian: apt-get install conmon)"
            )
        log_path = prepare_log(launch.log_path)
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                monitor = spawn(
                    [str(program), *self._arguments(launch, log_path)],
                    env={"PATH": os.environ.get("PATH", ""), "_OCI_SYNCPIPE": str(write_fd)},
                    pass_fds=[write_fd], new_session=True,
                )  # fmt: skip
            finally:
                os.close(write_fd)
            return await self._await_container(launch, monitor, read_fd)
        finally:
            os.close(read_fd)

    def _arguments(self, launch: Launch, log_path: Path | None) -> list[str]:
        bundle, settings = launch.bundle, self._settings
        arguments = [
            "--sync", "--api-version", "1", "--cid", launch.container_id, "--cuuid", launch.container_id,
            "--name", launch.name, "--bundle", str(bundle), "--container-pidfile", str(bundle / _PID_FILE),
            "--log-path", f"k8s-file:{log_path}" if log_path else "off:", "--log-level", "error",
            "--exit-dir", str(self._exits), "--persist-dir", str(bundle), "--full-attach", "--no-sync-log",
            "--runtime", str(launch.command.path), *(f"--runtime-arg={word}" for word in launch.command.global_args),
        ]  # fmt: skip
        if settings.log_size_max_bytes > 0:
            arguments += ["--log-size-max", str(settings.log_size_max_bytes)]
        if launch.terminal:
            arguments.append("--terminal")
        if launch.stdin:
            arguments.append("--stdin")
            if not launch.stdin_once:
                arguments.append("--leave-stdin-open")
        return arguments

    async def _await_container(self, launch: Launch, monitor: Process, read_fd: int) -> Monitored:
        try:
            monitor_identity = pidfd.identify(monitor.pid)
            # Written at once, so that after a crash in this very call the monitor can be found and ended.
            write_plain(launch.bundle / _MONITOR_PID_FILE, str(monitor.pid).encode())
            async with asyncio.timeout(self._settings.create_timeout_s):
                pid, words = parse_sync(await _read_line(read_fd))
            process = pidfd.identify(pid) if pid > 0 else None
            if process is None or monitor_identity is None:
                raise start_failure("create", launch.container_id, words)
        except BaseException as error:
            await shielded(_end(monitor), name="end failed monitor")
            self.forget(launch.container_id)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    f"the runtime did not create container {launch.container_id[:13]} within "
                    f"{self._settings.create_timeout_s:g} s"
                ) from None
            raise
        self._keep(monitor)
        return Monitored(
            container_id=launch.container_id, process=process, monitor=monitor_identity, bundle=str(launch.bundle),
            log_path=str(launch.log_path or ""),
        )  # fmt: skip

    def _keep(self, monitor: Process) -> None:
        """Reap it when it ends, whoever waits for the container or doesn't."""
        self._children[monitor.pid] = monitor
        monitor.when_ended(lambda: self._children.pop(monitor.pid, None))

    async def wait_exit(self, monitored: Monitored) -> Exit:
        await pidfd.wait_end(monitored.monitor)
        ended = self._exit_file(monitored)
        if ended is not None:
            return ended
        log.warning("the monitor is gone, the container's own process is watched")
        await pidfd.wait_end(monitored.process)
        return self.exit_now(monitored) or _lost()

    def exit_now(self, monitored: Monitored) -> Exit | None:
        if pidfd.is_alive(monitored.monitor):
            return None
        ended = self._exit_file(monitored)
        if ended is None and not pidfd.is_alive(monitored.process):
            return _lost()
        return ended

    def _exit_file(self, monitored: Monitored) -> Exit | None:
        path = self._exits / monitored.container_id
        try:
            code = int(path.read_text())
            finished_at = path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        except ValueError:
            code, finished_at = LOST_EXIT_CODE, path.stat().st_mtime_ns
        oom = (Path(monitored.bundle) / "oom").exists()
        return Exit(exit_code=code, finished_at_ns=finished_at, oom_hint=oom)

    def forget(self, container_id: str) -> None:
        (self._exits / container_id).unlink(missing_ok=True)

    async def abandon(self, container_id: str, bundle: Path) -> None:
        """End whatever monitor the bundle has; for a container that is being taken down. Idempotent."""
        try:
            pid = int((bundle / _MONITOR_PID_FILE).read_text())
            is_conmon = str(bundle).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            is_conmon = False
        if is_conmon and (monitor := pidfd.identify(pid)) is not None:
            try:
                async with asyncio.timeout(1.0):
                    await pidfd.wait_end(monitor)
            except TimeoutError:
                pidfd.send_signal(monitor, signal.SIGKILL)
                await pidfd.wait_end(monitor)
        self.forget(container_id)

    async def reopen_log(self, monitored: Monitored) -> None:
        log_path = Path(monitored.log_path)
        if log_path.exists():
            return  # nobody renamed it: the lines go where they should
        control = Path(monitored.bundle) / _CONTROL
        try:
            fd = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise FailedPrecondition(f"the container's monitor does not answer: {error.strerror}") from error
        try:
            os.write(fd, _REOPEN_LOG)
        finally:
            os.close(fd)
        try:
            async with asyncio.timeout(5.0):
                while not log_path.exists():  # noqa: ASYNC110 - conmon gives no other sign
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise FailedPrecondition("the container's monitor did not reopen its log within 5 s") from None

    async def resize(self, monitored: Monitored, *, width: int, height: int) -> None:
        control = Path(monitored.bundle) / _CONTROL
        try:
            fd = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise FailedPrecondition(f"the container's monitor does not answer: {error.strerror}") from error
        try:
            os.write(fd, f"1 {height} {width}\n".encode())
        finally:
            os.close(fd)

    def attach_socket(self, monitored: Monitored) -> Path:
        return Path(monitored.bundle) / "attach"


def _lost() -> Exit:
    return Exit(exit_code=LOST_EXIT_CODE, finished_at_ns=time.time_ns(), lost=True)


def prepare_log(path: Path | None) -> Path | None:
    """The log file, there before the process runs: the kubelet looks for it right after the start."""
    if path is None:
        return None
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, _LOG_MODE)
        try:
            os.fchmod(fd, _LOG_MODE)
        finally:
            os.close(fd)
    except OSError as error:
        raised = disk_error(error, path)
        if isinstance(raised, PodwrightError):
            raise raised from error
        raise Internal(f"log file {path} can't be made: {error.strerror}") from error
    return path


async def _read_line(fd: int) -> bytes:
    """What conmon writes: one JSON line; empty when it ended without a word."""
    os.set_blocking(fd, False)
    loop = asyncio.get_running_loop()
    data = bytearray()
    done: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return
        data.extend(chunk)
        if (not chunk or b"\n" in chunk or len(data) > _SYNC_LIMIT_BYTES) and not done.done():
            done.set_result(bytes(data))

    loop.add_reader(fd, read)
    try:
        return await done
    finally:
        loop.remove_reader(fd)


def parse_sync(line: bytes) -> tuple[int, str]:
    """(container pid, words of the runtime); pid -1 on failure."""
    try:
        message = json.loads(line)
        pid = int(message.get("data", message.get("pid", -1)))
        return pid, words_of(str(message.get("message", "")).encode())
    except (ValueError, TypeError, AttributeError):
        return -1, line.decode(errors="replace").strip() or "the monitor ended without a word"


async def _end(monitor: Process) -> None:
    """A monitor whose create failed ends by itself; one that hangs is killed, and its runtime with it."""
    try:
        async with asyncio.timeout(1.0):
            await monitor.wait()
    except TimeoutError:
        await monitor.kill()
