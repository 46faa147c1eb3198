"""Where a runtime says what went wrong: a log that its caller names, and stderr. As runc does: runc(8), --log.

A caller that gives `--log FILE --log-format json` reads JSON lines with level, msg and time; conmon reads stderr.
"""

from __future__ import annotations

import os
import sys
import time

import msgspec


class Report:
    """`path`: the log file; '' for none. `level` of what is written there: everything with `debug`."""

    def __init__(self, program: str, path: str = "", *, as_json: bool = False, debug: bool = False) -> None:
        self._program, self._path, self._as_json, self._debug = program, path, as_json, debug

    def error(self, words: str) -> None:
        """What made the call fail."""
        self._log("error", words)
        if self._path or not self._as_json:
            sys.stderr.write(f"{self._program}: {words}\n")

    def warning(self, words: str) -> None:
        """What the caller should know although it worked."""
        self._log("warning", words)

    def debug(self, words: str) -> None:
        """Nothing unless --debug was given."""
        if self._debug:
            self._log("debug", words)

    def _log(self, level: str, words: str) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09}Z"
        if self._as_json:
            line = _json({"level": level, "msg": words, "time": stamp}) + "\n"
        else:
            line = f"time={_json(stamp)} level={level} msg={_json(words)}\n"
        if self._path:
            self._append(line)
        elif self._as_json:
            sys.stderr.write(line)

    def _append(self, line: str) -> None:
        """A log that can't be written is said on stderr, and no reason to fail."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            sys.stderr.write(f"{self._program}: --log {self._path}: {error.strerror}\n{line}")
            return
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
