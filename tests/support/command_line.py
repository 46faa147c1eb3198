"""The command line, run in this process as a shell would run it: a start of Python per command would be slow."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from podwright.__main__ import main


@dataclass(frozen=True)
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """`podwright` with a socket. Calling it runs a subcommand; `ok` insists on success and gives the output."""

    def __init__(self, socket: Path, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.socket, self._capture, self._monkeypatch = socket, capture, monkeypatch

    def __call__(self, *words: str | Path) -> Result:
        self._monkeypatch.setattr(sys, "argv", ["podwright", "--socket", str(self.socket), *map(str, words)])
        self._capture.readouterr()
        code = main()
        out, err = self._capture.readouterr()
        return Result(code, out, err)

    def ok(self, *words: str | Path) -> str:
        result = self(*words)
        assert result.code == 0, result
        return result.out
