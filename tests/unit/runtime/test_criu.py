"""Whether CRIU works here: asked once for a program, again for another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.runtime.criu import Criu, reason_in

SAYS = "Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\nError (criu/crtools.c:260): Could not go on\n"


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\necho asked >> {path}.log\n{text}\n")
    path.chmod(0o755)
    return path


async def test_missing() -> None:
    assert "apt-get install criu" in await Criu("/nowhere/criu").problem()


async def test_asked_once_for_a_program(tmp_path: Path) -> None:
    path = program(tmp_path / "criu", f"echo '{SAYS}' >&2; exit 1")
    criu = Criu(str(path))
    for _ in range(2):
        assert "vdso: Unexpected rt vDSO area bounds" in await criu.problem()
    assert Path(f"{path}.log").read_text() == "asked\n"
    path.unlink()
    assert "not installed" in await criu.problem()
    program(path, "exit 0")
    assert await criu.problem() == ""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (SAYS, "vdso: Unexpected rt vDSO area bounds"),
        ("(00.001) Dumping\n(00.002) Error (criu/mem.c:1): no memory\n(00.003) Error (criu/x.c:2): bad\n", "no memory"),
        ("one\ntwo\n", "two"),
        ("", "without a word"),
    ],
)
def test_reason(log: str, reason: str) -> None:
    assert reason_in(log) == reason
