"""What a container wrote, as a layer, and back into another container: nothing is lost on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, Internal, NotFound
from podwright.snapshot.difference import write_difference
from podwright.snapshot.layer import BlobSource, LayerInvalid
from tests.root.snapshot.conftest import Bench
from tests.support import tars

pytestmark = pytest.mark.root

BASE = tars.archive(
    tars.directory(b"./", 0o755), tars.directory(b"old/"), tars.file(b"old/a", b"a"), tars.file(b"old/b", b"b"),
    tars.file(b"gone", b"x"), tars.file(b"kept", b"k"),
)  # fmt: skip


class Memory:
    """An output in memory."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("difference")

    def write(self, data: bytes, /) -> int:
        return os.write(self.fd, data)

    def close(self) -> None:
        os.close(self.fd)


async def apply(bench: Bench, key: str, data: bytes) -> None:
    memory = Memory()
    try:
        memory.write(data)
        await bench.snapshots.apply_difference(key, BlobSource("difference", memory.fd))
    finally:
        memory.close()


async def copied(bench: Bench, target: Path) -> None:
    """What was written at `target` for c1 is shown there for c2 instead."""
    memory = Memory()
    try:
        bench.snapshots.write_difference("c1", memory)
        bench.snapshots.unmount(target)
        await bench.snapshots.apply_difference("c2", BlobSource("difference", memory.fd))
    finally:
        memory.close()
    bench.snapshots.mount("c2", target)


async def test_round_trip(bench: Bench, target: Path) -> None:
    chain = await bench.stack(BASE)
    for key in ("c1", "c2"):
        bench.snapshots.prepare(key, chain)
    bench.snapshots.mount("c1", target)
    (target / "gone").unlink()
    for path in (target / "old").iterdir():
        path.unlink()
    (target / "old").rmdir()
    (target / "old").mkdir(mode=0o700)  # opaque: the lower one must not show through
    (target / "old/c").write_bytes(bytes(range(256)))
    os.chown(target / "old/c", 7, 8)
    (target / "old/c").chmod(0o4751)
    os.link(target / "old/c", target / "hard")
    os.setxattr(target / "kept", "user.odd", b"\xff\0bytes")
    (target / "soft").symlink_to("/etc/shadow")
    os.mkfifo(target / "fifo")
    (target / "näme").touch()
    await copied(bench, target)
    assert sorted(os.listdir(target)) == ["fifo", "hard", "kept", "näme", "old", "soft"]
    assert os.listdir(target / "old") == ["c"]
    info = (target / "old/c").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), info.st_nlink) == (7, 8, 0o4751, 2)
    assert (target / "hard").read_bytes() == bytes(range(256))
    assert os.getxattr(target / "kept", "user.odd") == b"\xff\0bytes"
    assert str((target / "soft").readlink()) == "/etc/shadow"
    assert stat.S_ISFIFO((target / "fifo").stat().st_mode)


async def test_names_that_layers_can_not_have(bench: Bench, target: Path) -> None:
    """They hide nothing, and stop nothing."""
    chain = await bench.stack(BASE)
    for key in ("c1", "c2"):
        bench.snapshots.prepare(key, chain)
    bench.snapshots.mount("c1", target)
    (target / ".wh.kept").touch()
    await copied(bench, target)
    assert (target / "kept").read_bytes() == b"k"


async def test_refusals(bench: Bench) -> None:
    chain = await bench.stack(BASE)
    bench.snapshots.prepare("c1", chain)
    with pytest.raises(NotFound):
        await apply(bench, "unknown", tars.archive())
    with pytest.raises(LayerInvalid):
        await apply(bench, "c1", tars.archive(tars.file(b"../evil", b"x")))
    await apply(bench, "c1", tars.archive(tars.file(b"file", b"x")))
    with pytest.raises(Internal):
        await apply(bench, "c1", tars.archive())


def test_what_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    os.setxattr(tmp_path / "moved", "trusted.overlay.redirect", b"/old")
    memory = Memory()
    try:
        with pytest.raises(FailedPrecondition, match="redirect_dir"):
            write_difference(tmp_path, memory)
    finally:
        memory.close()
