"""`podwright runtime check` with the real runtimes, and with one that lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.linux.process import find_program
from tests.support.command_line import CommandLine

pytestmark = pytest.mark.root


@pytest.fixture
def command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path / "none.sock", capsys, monkeypatch)


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_the_runtimes_that_pods_run_by(command_line: CommandLine, handler: str) -> None:
    done = command_line("runtime", "check", handler, "-o", "json")
    assert done.code == 0, done.out
    results = {outcome["check"]: outcome["result"] for outcome in done.json}
    assert {"create", "exec", "update", "delete", "refused: start twice"} <= results.keys()
    assert set(results.values()) <= {"ok", "none"}
    assert results["features"] == ("ok" if handler == "runc" else "none")


def test_gvisor(command_line: CommandLine) -> None:
    """Debian's forgets a container whose id is asked for once more; nothing else is wrong with it."""
    done = command_line("runtime", "check", "runsc", "-o", "json")
    failed = [outcome["check"] for outcome in done.json if outcome["result"] == "fail"]
    assert failed == ["refused: an id that is in use"]
    assert done.code == 1


def test_a_runtime_that_lies(command_line: CommandLine, tmp_path: Path) -> None:
    """Its kill never fails."""
    program, runc = tmp_path / "liar", find_program("runc")
    program.write_text(f'#!/bin/sh\ncase " $* " in *" kill "*) {runc} "$@"; exit 0;; esac\nexec {runc} "$@"\n')
    program.chmod(0o755)
    done = command_line("runtime", "check", "--path", program, "-o", "json")
    assert done.code == 1
    failed = {outcome["check"]: outcome["message"] for outcome in done.json if outcome["result"] == "fail"}
    assert failed == {
        "refused: kill of a stopped container": "kill succeeded, and should not have",
        "refused: an id that is not known": "kill succeeded, and should not have",
    }


def test_none_such(command_line: CommandLine) -> None:
    done = command_line("runtime", "check", "kata")
    assert done.code == 1
    assert "kata" in done.err
    assert "install" in done.err


def test_a_shim(command_line: CommandLine) -> None:
    done = command_line("runtime", "check", "shim")
    assert done.code == 1
    assert "has no command line: try the OCI runtime it calls" in done.err
