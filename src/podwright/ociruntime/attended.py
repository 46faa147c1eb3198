"""Stand in for a process: hand signals on to it, wait for its end, and end as it did."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_HANDED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def signals_held() -> Iterator[None]:
    """Around the start of the process and `wait`: a signal that comes too early for it has to wait, too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)


def wait(pid: int, send: Callable[[int], None] | None = None) -> int:
    """The exit code of a child, 128+n for signal n. `send` takes signals where they belong, if not to the child."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        try:
            if send is None:
                os.kill(pid, number)
            else:
                send(number)
        except ProcessLookupError:
            return

    for number in _HANDED_ON:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code
