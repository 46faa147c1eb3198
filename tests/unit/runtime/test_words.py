"""What runtimes say: real messages of runc 1.1 and crun 1.8, and what they become."""

from __future__ import annotations

import pytest

from podwright.runtime.base import CommandNotRunnable, RuntimeFailed
from podwright.runtime.words import error_of, failure, says_unknown, tidy


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ('runc create failed: unable to start container process: exec: "n": executable file not found in $PATH', 127),
        ('exec failed: unable to start container process: exec: "/x": stat /x: no such file or directory', 127),
        ("executable file `nope` not found in $PATH: No such file or directory", 127),
        ('unable to start container process: exec: "/etc": permission denied', 126),
        ('unable to start container process: exec /app: exec format error', 126),
        ("open executable: Operation not permitted", 126),
        ("exec: \"/x\": is a directory", 126),
    ],
)  # fmt: skip
def test_the_commands_fault(words: str, code: int) -> None:
    error = failure("create", "c" * 64, words, program="runc")
    assert isinstance(error, CommandNotRunnable)
    assert error.exit_code == code
    assert "runc create failed" not in str(error)


@pytest.mark.parametrize(
    "words",
    [
        'unable to start container process: error mounting "/nope" to rootfs at "/x": stat /nope: no such file',
        "error stat'ing file `/nope`: No such file or directory",
        "cgroups in hybrid mode not supported, drop all controllers from cgroupv2",
        "error loading config.json",
        "",
    ],
)
def test_the_runtimes_fault(words: str) -> None:
    error = failure("create", "c" * 64, words, program="crun")
    assert isinstance(error, RuntimeFailed)
    assert str(error).startswith("crun create of container cccccccccccc failed: ")
    assert error.words


@pytest.mark.parametrize(
    "words",
    [
        "container does not exist",
        "error opening file `/run/crun/nope/status`: No such file or directory",
        "cannot open directory '/run/crun/nope': No such file or directory",
        'loading container "x": file does not exist',
    ],
)
def test_unknown_containers(words: str) -> None:
    assert says_unknown(words)


def test_known_containers() -> None:
    assert not says_unknown("container is running")
    assert not says_unknown("error opening file `/etc/config`: No such file or directory")


def test_logs() -> None:
    log = b'{"level":"warning","msg":"a"}\n{"level":"error","msg":"b \\"c\\""}\nnot json\n{"level":"info","msg":"d"}\n'
    assert error_of(log) == 'b "c"'
    assert error_of(b"") == ""
    assert error_of(b'{"level": 3}') == ""


def test_tidy() -> None:
    logrus = 'time="2026" level=warning msg="x"\ntime="2026" level=error msg="exec failed: \\"y\\" \\\\ z"\n'
    assert tidy(logrus) == '"y" \\ z'
    assert tidy(" a \n\n b \n a ") == "a; b"
    assert len(tidy("x" * 5000)) == 2000
