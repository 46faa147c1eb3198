"""What runtimes say when they fail, and what it means. Pure: text in, an error out.

runc, crun, youki and gVisor agree on no codes, so their words decide; a message that none of these knows stays a
RuntimeFailed that carries it.
"""

from __future__ import annotations

import re

import msgspec

from podwright.runtime.base import CommandNotRunnable, RuntimeFailed

_MISSING = re.compile(
    r"executable file .*not found|not found in \$PATH|exec:? .*: stat .*no such file|exec:? .*no such file or directory"
    r"|failed to load .*: no such file or directory"
)
_NOT_EXECUTABLE = re.compile(
    r"exec(utable|ve|:| /).*(permission denied|operation not permitted|exec format error|is a directory)"
    r"|open executable: .*",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"container .*does not exist|/status`: No such file|cannot open directory .*No such file|container not found"
    r"|loading container .*(does not exist|no such file)",
    re.IGNORECASE,
)


_LOGRUS = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"')


class _LogLine(msgspec.Struct):
    level: str = ""
    msg: str = ""


def says_unknown(words: str) -> bool:
    """Whether the runtime says that it knows no such container."""
    return _UNKNOWN.search(words) is not None


def error_of(log: bytes) -> str:
    """The last error in a JSON log of a runtime, '' when there is none."""
    words = ""
    for line in log.splitlines():
        try:
            entry = msgspec.json.decode(line, type=_LogLine)
        except msgspec.MsgspecError:
            continue
        if entry.level in ("error", "fatal") and entry.msg:
            words = entry.msg
    return words


def failure(verb: str, container_id: str, words: str, *, program: str) -> RuntimeFailed | CommandNotRunnable:
    """The error that `words`, from stderr or the log, make."""
    text = tidy(words) or "it gave no reason"
    if _MISSING.search(text):
        return CommandNotRunnable(text, exit_code=127)
    if _NOT_EXECUTABLE.search(text):
        return CommandNotRunnable(text, exit_code=126)
    return RuntimeFailed(verb, container_id, text, program=program)


def tidy(words: str) -> str:
    """Text for people: one line, without what the runtime says about itself, at most 2,000 characters."""
    logged = [found.replace('\\"', '"').replace("\\\\", "\\") for found in _LOGRUS.findall(words)]
    lines = logged or [line.strip() for line in words.splitlines() if line.strip()]
    text = "; ".join(dict.fromkeys(lines))
    for prefix in ("runc create failed: ", "exec failed: ", "unable to start container process: "):
        text = text.removeprefix(prefix)
    return text[-2000:]
