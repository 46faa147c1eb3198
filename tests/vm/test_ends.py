"""A machine whose host is gone. Asked to, machines end at the end of the fixture `machine`."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.vm.build_guest import Guest
from tests.support.guest import Machine

pytestmark = pytest.mark.root


def test_a_host_that_goes_away_ends_the_machine(built: Guest, tmp_path: Path) -> None:
    """Even one that has never asked for anything."""
    with Machine(built, tmp_path) as machine:
        client = machine.connect()
        client.notice("hello")
        client.close()
        assert machine.wait() == 0
        assert "the host has closed its end: powering off" in machine.words()
