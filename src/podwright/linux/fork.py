"""The one door to fork(2), for programs of one thread: what a runtime starts that outlives it, or enters namespaces.

A process with threads must not fork (`linux/process` spawns there); a runtime has none.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable

from podwright.base.errors import Internal, PodwrightError

_FAILED, _READY = b"F", b"R"

Ready = Callable[[bytes], None]


def fork(child: Callable[[Ready], object], *, keep: Iterable[int] = (), new_session: bool = False) -> tuple[int, bytes]:
    """Run `child` in a new process, which has the standard streams and the descriptors in `keep`, and no others.

    Returns the pid when the child has called the function that it is given, whose bytes come as well, or has executed a
    program (b""). A child that returns ends with status 0. What it raises before that is raised here: a PodwrightError
    with its words; the child is waited for then.
    """
    answers, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()  # noqa: TID251 - this is a door, too
    if pid == 0:
        _be_child(child, tell, {0, 1, 2, tell, *keep}, new_session=new_session)
    os.close(tell)
    try:
        answer = _read_all(answers)
    finally:
        os.close(answers)
    if answer.startswith(_FAILED):
        os.waitpid(pid, 0)
        raise Internal(answer[1:].decode(errors="replace"))
    return pid, answer[1:]


def _be_child(child: Callable[[Ready], object], tell: int, keep: set[int], *, new_session: bool) -> None:
    """Never returns."""
    status = 1
    try:
        _close_others(keep)
        if new_session:
            os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and programs would inherit that
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

        def ready(fact: bytes) -> None:
            os.write(tell, _READY + fact)
            os.close(tell)

        child(ready)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:
        words = str(error) if isinstance(error, PodwrightError | OSError) else repr(error)
        try:
            os.write(tell, _FAILED + words.encode())
        except OSError:
            pass  # it was ready before: the parent is gone on its way
    finally:
        os._exit(status)


def _close_others(keep: set[int]) -> None:
    before = -1
    for fd in (*sorted(keep), 1 << 20):
        if fd > before + 1:  # CPython takes an empty range that begins with 0 for one without end
            os.closerange(before + 1, fd)
        before = fd


def _read_all(fd: int) -> bytes:
    data = b""
    while chunk := os.read(fd, 65536):
        data += chunk
    return data
