"""Namespaces that no process holds, on the real kernel."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux import mounts
from podwright.linux.idmap import IdMaps, IdRange
from podwright.linux.userns import user_namespace
from podwright.network import namespaces

pytestmark = pytest.mark.root


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[dict[str, Path]]:
    made = {kind: tmp_path / f"{kind}ns" for kind in ("net", "ipc", "uts")}
    yield made
    namespaces.unpin(made.values())


def own(kind: str) -> int:
    return os.stat(f"/proc/self/ns/{kind}").st_ino


async def test_pinned_namespaces_are_new_and_outlive_their_thread(paths: dict[str, Path]) -> None:
    before = {kind: own(kind) for kind in paths}
    threads = threading.active_count()
    await namespaces.pin(paths, hostname="pod-1")
    assert all(namespaces.is_pinned(path) for path in paths.values())
    assert all(paths[kind].stat().st_ino != before[kind] for kind in paths)
    assert {kind: own(kind) for kind in paths} == before
    async with asyncio.timeout(1):  # it tells us first, then ends
        while threading.active_count() != threads:
            await asyncio.sleep(0.001)
    assert socket.gethostname() != "pod-1"


async def test_the_namespace_has_loopback_up_and_nothing_else(paths: dict[str, Path]) -> None:
    await namespaces.pin(paths)

    def look() -> tuple[list[str], int]:
        names = [name for _, name in socket.if_nameindex()]
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]):
            return names, server.getsockname()[1]

    names, _ = await namespaces.run_in_netns(paths["net"], look)
    assert names == ["lo"]


async def test_hostname_and_sysctls_are_set_inside_only(paths: dict[str, Path]) -> None:
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(), socket.gethostname()
    wanted = {
        "net.ipv4.ip_unprivileged_port_start": "81", "net.ipv4.ping_group_range": "0 2147483647",
        "kernel.shm_rmid_forced": "1",
    }  # fmt: skip
    await namespaces.pin(paths, hostname="h" * 64, sysctls=wanted)

    def look() -> str:
        return Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip()

    assert await namespaces.run_in_netns(paths["net"], look) == "81"
    assert (Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(), socket.gethostname()) == before
    assert Path("/proc/sys/kernel/shm_rmid_forced").read_text().strip() == "0"


@pytest.mark.parametrize(
    ("hostname", "sysctls", "words"),
    [
        ("x" * 65, {}, "more than 64 bytes"),
        ("", {"net.ipv4.no_such_thing": "1"}, "net.ipv4.no_such_thing: this kernel has none"),
        ("", {"net.ipv4.ip_forward": "many"}, "net.ipv4.ip_forward = 'many': Invalid argument"),
    ],
)
async def test_what_the_kernel_refuses_leaves_nothing(
    paths: dict[str, Path], hostname: str, sysctls: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        await namespaces.pin(paths, hostname=hostname, sysctls=sysctls)
    assert not any(path.exists() for path in paths.values())


async def test_network_sysctls_never_reach_the_hosts_namespace(paths: dict[str, Path]) -> None:
    with pytest.raises(InvalidArgument, match="network namespace of the pod's own"):
        await namespaces.pin({"uts": paths["uts"]}, sysctls={"net.ipv4.ip_forward": "1"})


async def test_unpinning_is_idempotent_also_when_pinned_twice(paths: dict[str, Path]) -> None:
    await namespaces.pin(paths)
    await namespaces.pin(paths)
    namespaces.unpin(paths.values())
    namespaces.unpin(paths.values())
    assert not any(path.exists() for path in paths.values())
    assert mounts.mounts_under(paths["net"].parent) == []


async def test_entering_what_is_not_pinned(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(FailedPrecondition, match="its pod has ended"):
            await namespaces.run_in_netns(path, lambda: None)


async def test_a_cancelled_pin_is_whole_before_the_caller_goes_on(paths: dict[str, Path]) -> None:
    pinning = asyncio.gather(namespaces.pin(paths))
    await asyncio.sleep(0)
    pinning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pinning
    # The caller's undo finds everything that the thread did.
    namespaces.unpin(paths.values())
    await asyncio.sleep(0.05)
    assert not any(path.exists() for path in paths.values())


async def test_many_at_once(tmp_path: Path) -> None:
    each = [{"net": tmp_path / f"net{n}"} for n in range(20)]
    await asyncio.gather(*(namespaces.pin(paths) for paths in each))
    assert len({paths["net"].stat().st_ino for paths in each}) == 20
    for paths in each:
        namespaces.unpin(paths.values())


async def test_namespaces_of_a_user_namespace_are_pinned_with_it(tmp_path: Path) -> None:
    paths = {kind: tmp_path / f"{kind}ns" for kind in ("user", "net", "ipc", "uts")}
    maps = IdMaps((IdRange(0, 200_000, 1000),), (IdRange(0, 200_000, 1000),))
    try:
        async with user_namespace(maps, owning=["net", "ipc", "uts"]) as holder:
            inodes = {kind: os.stat(f"/proc/{holder}/ns/{kind}").st_ino for kind in paths}
            await namespaces.pin(paths, hostname="theirs", sysctls={"net.ipv4.tcp_syncookies": "0"}, holder=holder)
            await namespaces.write_ipc_sysctls(holder, {"kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "20"})
            with pytest.raises(InvalidArgument, match=r"kernel\.msgmax"):
                await namespaces.write_ipc_sysctls(holder, {"kernel.msgmax": "no number"})
        assert {kind: path.stat().st_ino for kind, path in paths.items()} == inodes, "they outlive the process"
        assert own("user") != inodes["user"]
        assert socket.gethostname() != "theirs"
    finally:
        namespaces.unpin(paths.values())
