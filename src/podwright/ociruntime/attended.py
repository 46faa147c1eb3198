"""Stand in for a process: hand signals on to it, wait for its end, and end as it did."""

from __future__ import annotations

import os
import signal
from types import FrameType

_HANDED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def wait(pid: int) -> int:
    """The exit code of a child, 128+n for signal n."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    for number in _HANDED_ON:
        signal.signal(number, hand_on)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code
