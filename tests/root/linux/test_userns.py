"""User namespaces and idmapped mounts on the real kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition
from podwright.linux import mounts
from podwright.linux.idmap import IdMaps, IdRange, attach, clone_idmapped
from podwright.linux.userns import user_namespace

pytestmark = pytest.mark.root

MAPS = IdMaps((IdRange(0, 200_000, 1000),), (IdRange(0, 300_000, 10), IdRange(10, 400_000, 5)))


def namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


async def test_the_process_is_in_new_namespaces_with_the_maps_and_ends_with_the_block() -> None:
    async with user_namespace(MAPS, owning=["net", "uts"]) as pid:
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "200000", "1000"]
        assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", "300000", "10", "10", "400000", "5"]
        changed = {
            kind for kind in ("user", "net", "uts", "ipc", "mnt") if namespace(pid, kind) != namespace("self", kind)
        }
        assert changed == {"user", "net", "uts"}
    assert not Path(f"/proc/{pid}").exists()


async def test_maps_that_the_kernel_refuses_are_named() -> None:
    overlapping = IdMaps((IdRange(0, 1000, 10), IdRange(5, 2000, 10)), MAPS.gids)
    with pytest.raises(FailedPrecondition, match="uid_map"):
        async with user_namespace(overlapping):
            pass


async def test_an_exhausted_limit_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = tmp_path / "unshare"
    failing.write_text("#!/bin/sh\necho 'unshare failed: No space left on device' >&2; exit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(FailedPrecondition, match=r"No space left on device.*max_user_namespaces"):
        async with user_namespace(MAPS):
            pass


async def test_an_idmapped_mount_shows_mapped_owners_and_stores_plain_ones(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("x")
    async with user_namespace(MAPS) as pid:
        mount_fd = clone_idmapped(source, Path(f"/proc/{pid}/ns/user"))
    try:
        attach(mount_fd, target)
        os.close(mount_fd)
        assert (os.stat(target / "file").st_uid, os.stat(target / "file").st_gid) == (200_000, 300_000)
        os.chown(target / "file", 200_005, 400_001)
        assert (os.stat(source / "file").st_uid, os.stat(source / "file").st_gid) == (5, 11)
    finally:
        mounts.unmount(target)


async def test_a_file_system_that_cant_is_named() -> None:
    async with user_namespace(MAPS) as pid:
        with pytest.raises(FailedPrecondition, match="/sys/kernel"):
            clone_idmapped(Path("/sys/kernel"), Path(f"/proc/{pid}/ns/user"))
