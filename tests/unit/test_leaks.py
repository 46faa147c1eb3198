"""The leak check itself: each kind of leak is seen, and ends with the thing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from podwright.linux import mounts, process
from podwright.linux.nftables import Nftables
from tests.support import leaks, names


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 0.1)


def test_a_descriptor(tmp_path: Path) -> None:
    before = leaks.snapshot()
    fd = os.open(tmp_path / "kept", os.O_CREAT)
    assert leaks.wait_for_leaks(before) == [f"descriptor of {tmp_path}/kept"]
    os.close(fd)
    assert leaks.wait_for_leaks(before) == []


async def test_a_child() -> None:
    before = leaks.snapshot()
    child = process.spawn(["sleep", "100"])
    found = leaks.wait_for_leaks(before)
    await child.kill()
    assert f"process {child.pid}: sleep 100" in found
    assert leaks.wait_for_leaks(before) == []


async def test_a_child_nobody_waited_for() -> None:
    before = leaks.snapshot()
    child = process.spawn(["true"])
    found = leaks.wait_for_leaks(before)
    await child.wait()
    assert f"process {child.pid}: (zombie that nobody waits for)" in found


async def test_an_orphan() -> None:
    before = leaks.snapshot()
    done = await process.run(["sh", "-c", "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"])
    found = leaks.wait_for_leaks(before)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert found == [f"process {int(done.stdout)}: sleep 1000"]
    leaks.GRACE_S = 5.0
    assert leaks.wait_for_leaks(before) == []


@pytest.mark.root
def test_a_mount(tmp_path: Path) -> None:
    before = leaks.snapshot()
    mounts.tmpfs(tmp_path, size_bytes=4096)
    assert leaks.wait_for_leaks(before) == [f"mount at {tmp_path}"]
    mounts.unmount(tmp_path)
    assert leaks.wait_for_leaks(before) == []


@pytest.mark.root
def test_a_cgroup() -> None:
    before = leaks.snapshot()
    root = next(Path(m.target) for m in mounts.mountinfo() if m.fstype in ("cgroup", "cgroup2"))
    path = root / names.cgroup().lstrip("/")
    path.mkdir()
    found = leaks.wait_for_leaks(before)
    path.rmdir()
    assert found == [f"cgroup {path}"]


def test_a_lease(tmp_path: Path) -> None:
    before = leaks.snapshot()
    lease = tmp_path / "run" / "ipam" / "net" / "10.1.2.3"
    lease.parent.mkdir(parents=True)
    lease.touch()
    (lease.parent / "last_reserved_ip.0").touch()
    assert leaks.wait_for_leaks(before) == [f"address lease {lease}"]
    lease.unlink()


@pytest.mark.root
def test_a_firewall_rule() -> None:
    """And iptables', which nftables lists among its own."""
    before = leaks.snapshot(rules=True)
    nftables, table = Nftables(), f"inet t{names.TOKEN}"
    nftables.apply(f"add table {table}; add chain {table} forward")
    nftables.apply(f'add rule {table} forward oifname "{names.LINK_PREFIX}br" accept')
    found = [line for line in leaks.wait_for_leaks(before, rules=True) if line.startswith("firewall")]
    nftables.apply(f"delete table {table}")
    nftables.close()
    assert found == [
        f"firewall rule: table {table} {{", f'firewall rule: oifname "{names.LINK_PREFIX}br" accept'
    ]  # fmt: skip
    assert leaks.wait_for_leaks(before, rules=True) == []
