"""CRIU, the program behind every runtime's checkpoint and restore: whether it is here, and works with this kernel.

`criu check` asks the kernel itself, since a CRIU that is older than the kernel may refuse to work on it at all (3.17
fails from Linux 6.3 on over the vDSO's new layout). https://criu.org/Check_the_kernel
"""

from __future__ import annotations

import re
from pathlib import Path

from podwright.base.errors import PodwrightError
from podwright.linux.process import find_program, run

PROGRAM = "criu"
_CHECK_TIMEOUT_S = 10.0
_ERROR = re.compile(r"^(?:\([\d.]+\) *)?Error \([^)]*\): *(.*)$", re.MULTILINE)


class Criu:
    """What the check said, remembered for as long as the program's file stays the same one: a new CRIU needs no
    restart of the daemon."""

    def __init__(self, program: str = PROGRAM) -> None:
        self._name = program
        self._checked: tuple[Path, int] | None = None
        self._problem = ""

    async def problem(self) -> str:
        """Why nothing can be checkpointed here, with the remedy; '' when it can."""
        program = find_program(self._name)
        if program is None:
            self._checked = None
            return f"the program {self._name} is not installed (Debian: apt-get install criu)"
        current = (program, program.stat().st_mtime_ns)
        if self._checked != current:
            self._problem, self._checked = await _check(program), current
        return self._problem


async def _check(program: Path) -> str:
    try:
        done = await run([program, "check"], timeout_s=_CHECK_TIMEOUT_S, check=False)
    except PodwrightError as error:
        return f"`{program} check` says nothing: {error}"
    if done.returncode == 0:
        return ""
    said = (done.stderr + done.stdout).decode(errors="replace")
    return (
        f"`{program} check` fails on this kernel: {reason_in(said)}; install a CRIU that knows the kernel, or boot "
        "a kernel that it knows"
    )


def reason_in(text: str) -> str:
    """The first error that a log of CRIU's holds, which the others follow from; else its last line."""
    found = _ERROR.findall(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return str(found[0]) if found else (lines[-1] if lines else "without a word")
