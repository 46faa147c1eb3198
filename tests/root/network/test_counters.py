"""Interface counters of real namespaces, by one thread that goes from one to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.linux.process import run
from podwright.network import namespaces
from podwright.network.counters import InterfaceCounters, read_counters

pytestmark = pytest.mark.root


async def test_each_namespace_has_its_own(tmp_path: Path) -> None:
    pinned = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    for path in pinned:
        await namespaces.pin({"net": path})
    try:
        await run(
            ["nsenter", f"--net={pinned[1]}", "ip", "link", "add", "a0", "type", "veth", "peer", "name", "b0"],
            timeout_s=20,
        )
        gone = tmp_path / "gone"
        found = await namespaces.in_own_thread(
            lambda: [read_counters(path) for path in [*pinned, gone, pinned[1]]], name="test"
        )
    finally:
        namespaces.unpin(pinned)
    silent = [InterfaceCounters(name, 0, 0, 0, 0, 0, 0, 0, 0) for name in ("b0", "a0")]  # new, and not up
    assert found == [[], silent, [], None, silent]
