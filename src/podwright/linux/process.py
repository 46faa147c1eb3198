"""The one door to other programs.

`run` starts a program, waits and gives its output; `spawn` starts one that lives on. Both use
subprocess.Popen without `preexec_fn`, which lets CPython use vfork(2), and a pidfd in the event loop instead of
a thread or SIGCHLD. Output goes to memfds, so a grandchild that keeps the pipe open cannot hang us and no
reader is scheduled; use `spawn` with pipes where the output belongs to an untrusted program.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess  # noqa: TID251 - this is the door
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podwright.base.errors import DeadlineExceeded, NotFound, PodwrightError
from podwright.base.tasks import shielded

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024


class ProcessFailed(PodwrightError):
    """A program ended with a status other than 0. `argv`, `returncode` (negative: signal), `stdout`, `stderr`."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: bytes, stderr: bytes) -> None:
        self.argv, self.returncode, self.stdout, self.stderr = list(argv), returncode, stdout, stderr
        how = f"killed by signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
        words = (stderr or stdout).decode(errors="replace").strip()
        super().__init__(f"{Path(argv[0]).name}: {how}: {words[-2000:]}" if words else f"{Path(argv[0]).name}: {how}")


class ProgramMissing(NotFound):
    """The program is not there or may not be executed."""


@dataclass(frozen=True)
class Completed:
    """What a finished program left. A negative `returncode` is a signal number, as in subprocess."""

    returncode: int
    stdout: bytes
    stderr: bytes


_children: set[int] = set()


def is_child(pid: int) -> bool:
    """Whether a child of this process was started here and has not been waited for: somebody else will."""
    return pid in _children


class Process:
    """A running program, watched through its pidfd. Whoever spawns it must `wait` for it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid
        self._pidfd = os.pidfd_open(popen.pid)
        _children.add(popen.pid)

    @property
    def ended(self) -> bool:
        """Whether its end has been seen: from then on its pid may be another's."""
        return self._pidfd < 0

    async def wait(self) -> int:
        """The exit status, negative for a signal."""
        if self._pidfd >= 0:
            await readable(self._pidfd)
            self._reap()
        return int(self._popen.returncode)

    def _reap(self) -> None:
        self._popen.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
            _children.discard(self.pid)

    def when_ended(self, then: Callable[[], object]) -> None:
        """Reap it when it ends, and call `then`; for a process that nobody awaits."""
        loop = asyncio.get_running_loop()
        watched = os.dup(self._pidfd)

        def ended() -> None:
            loop.remove_reader(watched)
            os.close(watched)
            self._reap()
            then()

        loop.add_reader(watched, ended)

    def signal(self, number: int) -> None:
        """Send a signal; one that has ended already is success."""
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return

    async def kill(self) -> None:
        """SIGKILL the process and its group, and wait for it."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.signal(signal.SIGKILL)
        await self.wait()


async def readable(fd: int) -> None:
    """Wait until `fd` polls readable; for a pidfd that means that the process has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
) -> Process:
    """Start `argv` in a process group of its own. `env` replaces the environment; the default is a clean one.

    `new_session`: in a session of its own as well, for what outlives us. Raises ProgramMissing.
    """
    try:
        popen = subprocess.Popen(
            [os.fspath(word) for word in argv],
            stdin=stdin, stdout=stdout, stderr=stderr,
            env=dict(clean_environment() if env is None else env),
            cwd=cwd, pass_fds=tuple(pass_fds),
            start_new_session=new_session, process_group=None if new_session else 0,
        )  # fmt: skip
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise ProgramMissing(f"can't run {os.fspath(argv[0])}: {error.strerror}; is it installed?") from error
    return Process(popen)


async def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    timeout_s: float = 120.0,
    check: bool = True,
) -> Completed:
    """Run a trusted program to its end. Raises ProcessFailed (unless `check=False`), DeadlineExceeded, ProgramMissing.

    At the deadline, and when the caller is cancelled, the program's process group is killed and reaped first.
    """
    out, err = os.memfd_create("stdout"), os.memfd_create("stderr")
    source = _memfd(stdin) if stdin else subprocess.DEVNULL
    try:
        process = spawn(argv, stdin=source, stdout=out, stderr=err, env=env, cwd=cwd, pass_fds=pass_fds)
        try:
            async with asyncio.timeout(timeout_s):
                returncode = await process.wait()
        except TimeoutError:
            await process.kill()
            raise DeadlineExceeded(f"{Path(argv[0]).name} {argv[1:2]} did not end within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            await shielded(process.kill(), name="kill cancelled process")
            raise
        done = Completed(returncode, _contents(out), _contents(err))
    finally:
        os.close(out)
        os.close(err)
        if stdin:
            os.close(source)
    if check and returncode != 0:
        raise ProcessFailed([os.fspath(word) for word in argv], returncode, done.stdout, done.stderr)
    return done


def empty_input() -> int:
    """The read end of a pipe that nobody can write to: as empty as /dev/null, and nothing that others use as well.

    For runtimes: crun up to 1.23 makes the container's user the owner of its standard input, and that would be the
    host's /dev/null. https://github.com/containers/crun/issues/1845. Whoever asks closes it.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.close(write_fd)
    return read_fd


def clean_environment() -> dict[str, str]:
    """What programs get: PATH of ours or a sane one, and the C locale, so that messages can be matched."""
    return {"PATH": os.environ.get("PATH", DEFAULT_PATH), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def find_program(name: str) -> Path | None:
    """Where `name` (a path, or a word looked up in PATH and the sbin directories) is; None when it is nowhere."""
    if "/" in name:
        return Path(name) if os.access(name, os.X_OK) else None
    for directory in [*os.environ.get("PATH", "").split(":"), *DEFAULT_PATH.split(":")]:
        path = Path(directory, name)
        if directory and os.access(path, os.X_OK) and path.is_file():
            return path
    return None


def _memfd(data: bytes) -> int:
    fd = os.memfd_create("stdin")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _contents(fd: int) -> bytes:
    return os.pread(fd, min(os.fstat(fd).st_size, OUTPUT_LIMIT_BYTES), 0)
