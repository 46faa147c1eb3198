"""exec with a terminal, attach and port-forward on a Docker Engine, as on any runtime, by `podwright`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import remote
from tests.support.command_line import CommandLine
from tests.support.docker_daemon import DockerDaemon

pytestmark = pytest.mark.root


@pytest.mark.parametrize("check", remote.CHECKS, ids=lambda check: check.__name__)
def test_streams(
    check: Callable[[CommandLine, Path], None], daemon: DockerDaemon, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    check(CommandLine(daemon.socket, capfd, monkeypatch), tmp_path)
