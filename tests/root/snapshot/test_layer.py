"""Layers through the worker's sandbox: the odd ones come out right, the hostile ones are refused and touch nothing."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import re
import signal
import stat
import struct
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard

from podwright.base.errors import Internal, PodwrightError, ResourceExhausted, Unavailable
from podwright.linux import mounts
from podwright.oci.digest import Digest
from podwright.snapshot.base import Layer
from podwright.snapshot.layer import BlobSource, DownloadAborted, LayerInvalid, Limits, Unpacker
from podwright.snapshot.overlay import OverlaySnapshotter
from podwright.state.layout import Layout
from podwright.state.store import Store
from tests.root.snapshot.conftest import Bench
from tests.support import tars
from tests.support.tars import archive, directory, file, hard_link, header, pax, symlink

pytestmark = pytest.mark.root

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep, linux/capability.h
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, perm, who)
    for tag, perm, who in ((1, 7, 2**32 - 1), (2, 6, 1234), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1), (32, 4, 2**32 - 1))
)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_every_kind_of_entry(bench: Bench, compression: str) -> None:
    layer = await bench.apply(
        archive(
            directory(b"d/", 0o1777, uid=1, gid=2, mtime=123),
            file(b"d/f", b"data" * 1000, mode=0o4755, uid=3, gid=4, mtime=99),
            symlink(b"abs", b"/etc/shadow"), symlink(b"rel", b"../../x"), hard_link(b"hl", b"d/f"),
            header(b"null", b"3", major=1, minor=3, mode=0o666), header(b"sda", b"4", major=8, minor=0),
            header(b"pipe", b"6"),
        ),
        compression,
    )  # fmt: skip
    tree = bench.tree(layer)
    info = (tree / "d").lstat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, int(info.st_mtime)) == (0o1777, 1, 2, 123)
    info = (tree / "d/f").lstat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, int(info.st_mtime)) == (0o4755, 3, 4, 99)
    assert (tree / "d/f").read_bytes() == b"data" * 1000
    assert (tree / "hl").samefile(tree / "d/f")
    assert (os.readlink(tree / "abs"), os.readlink(tree / "rel")) == ("/etc/shadow", "../../x")
    assert stat.S_ISCHR((tree / "null").lstat().st_mode)
    assert os.major((tree / "sda").lstat().st_rdev) == 8
    assert stat.S_ISFIFO((tree / "pipe").lstat().st_mode)
    assert (layer.inodes, layer.size_bytes) == (8, 8192)


async def test_attributes_beyond_mode(bench: Bench) -> None:
    layer = await bench.apply(archive(
        pax({b"SCHILY.xattr.user.note": b"a\0b", b"SCHILY.xattr.security.capability": CAPABILITY,
             b"SCHILY.xattr.trusted.overlay.opaque": b"y", b"SCHILY.xattr.security.selinux": b"x",
             b"LIBARCHIVE.xattr.user.other": b"aGk", b"mtime": b"1234.5678"}),
        file(b"f", b"x", uid=9),
        pax({b"SCHILY.xattr.system.posix_acl_default": ACL, b"SCHILY.xattr.system.posix_acl_access": ACL}),
        directory(b"d/"), file(b"d/inner", mode=0o600),
    ))  # fmt: skip
    tree = bench.tree(layer)
    assert os.getxattr(tree / "f", "user.note") == b"a\0b"
    assert os.getxattr(tree / "f", "user.other") == b"hi"
    assert os.getxattr(tree / "f", "security.capability")[:8] == CAPABILITY[:8]
    assert set(os.listxattr(tree / "f")) == {"user.note", "user.other", "security.capability"}
    assert (tree / "f").stat().st_mtime_ns == 1234_567_800_000
    assert set(os.listxattr(tree / "d")) == {"system.posix_acl_default", "system.posix_acl_access"}
    assert os.listxattr(tree / "d/inner") == []
    assert stat.S_IMODE((tree / "d/inner").stat().st_mode) == 0o600


async def test_names_that_are_long_strange_or_not_text(bench: Bench) -> None:
    decomposed = "e\u0301".encode()
    latin = b"caf\xe9"
    layer = await bench.apply(archive(
        pax({b"path": decomposed}), file(b"short"), pax({b"path": latin}), file(b"short"),
        file(latin + b"2"), file(b"with\nnewline"), file(b"./././//dots//a"), file(b"/absolute"),
        pax({b"path": b"p/" + b"l" * 255}), file(b"short"), file(b"u", prefix=b"dir/" * 30 + b"end"),
        header(b"././@LongLink", b"L", size=301) + tars.pad(b"g/" * 150 + b"\0"), file(b"short"),
        file(b"star\tname"), pax({b"linkpath": b"t" * 200}), symlink(b"sl", b"x"),
    ))  # fmt: skip
    tree = os.fsencode(bench.tree(layer))
    names = set(os.listdir(tree))
    assert {decomposed, latin, latin + b"2", b"with\nnewline", b"dots", b"absolute", b"star\tname"} <= names
    assert "é".encode() not in names, "names are not normalised"
    assert os.path.exists(tree + b"/p/" + b"l" * 255)
    assert os.path.exists(tree + b"/" + b"dir/" * 30 + b"end/u")
    assert os.path.exists(tree + b"/" + b"g/" * 150)
    assert os.readlink(tree + b"/sl") == b"t" * 200


async def test_big_owners_and_odd_times(bench: Bench) -> None:
    layer = await bench.apply(archive(
        file(b"a", uid=4_000_000_000, gid=3_000_000_000, mtime=-5),
        pax({b"uid": b"4000000001", b"mtime": b"99999999999999"}),
        file(b"b"),
    ))  # fmt: skip
    info = (bench.tree(layer) / "a").stat()
    assert (info.st_uid, info.st_gid, info.st_mtime) == (4_000_000_000, 3_000_000_000, 0)
    info = (bench.tree(layer) / "b").stat()
    assert (info.st_uid, info.st_mtime) == (4_000_000_001, 0)


def sparse_archives() -> dict[str, bytes]:
    data, tail = b"A" * 512, b"B" * 512
    size = b"1048576"
    gnu = bytearray(header(b"s", b"S", size=1024))
    for at, number in ((386, 0), (398, 512), (410, 524288), (422, 512), (483, 1048576)):
        gnu[at : at + 12] = b"%011o\0" % number
    gnu[148:156] = b" " * 8
    gnu[148:156] = b"%06o\0 " % sum(gnu)
    map_lines = tars.pad(b"2\n0\n512\n524288\n512\n")
    one_zero = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": b"s",
        b"GNU.sparse.realsize": size,
    }
    pairs = [(b"GNU.sparse.offset", b"0"), (b"GNU.sparse.numbytes", b"512"),
             (b"GNU.sparse.offset", b"524288"), (b"GNU.sparse.numbytes", b"512")]  # fmt: skip
    return {
        "old GNU": bytes(gnu) + data + tail,
        "pax 0.0": pax([(b"GNU.sparse.size", size), (b"GNU.sparse.numblocks", b"2"), *pairs]) + file(b"s", data + tail),
        "pax 0.1": pax({b"GNU.sparse.size": size, b"GNU.sparse.numblocks": b"2", b"GNU.sparse.name": b"s",
                        b"GNU.sparse.map": b"0,512,524288,512"}) + file(b"x", data + tail),
        "pax 1.0": pax(one_zero) + header(b"x", size=len(map_lines) + 1024) + map_lines + data + tail,
    }  # fmt: skip


@pytest.mark.parametrize("form", sparse_archives())
async def test_sparse_files_stay_sparse(bench: Bench, form: str) -> None:
    layer = await bench.apply(archive(sparse_archives()[form], file(b"after", b"!")))
    made = bench.tree(layer) / "s"
    content = made.read_bytes()
    assert len(content) == 1048576
    assert content[:512] == b"A" * 512
    assert content[524288:524800] == b"B" * 512
    assert content.count(b"\0") == 1048576 - 1024
    assert made.stat().st_blocks * 512 < 100_000
    assert (bench.tree(layer) / "after").read_bytes() == b"!"


async def test_archives_of_the_standard_library(bench: Bench) -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo(f"d/{form}/" + "n" * 90)
        layer = await bench.apply(tars.from_tarfile([(info, b"x")], form))
        assert (bench.tree(layer) / info.name).read_bytes() == b"x"


async def test_a_later_entry_wins(bench: Bench) -> None:
    layer = await bench.apply(archive(
        file(b"twice", b"1"), file(b"twice", b"2"),
        directory(b"was-dir/"), file(b"was-dir/in/side"), file(b"was-dir", b"file"),
        file(b"was-file"), directory(b"was-file/", 0o711), file(b"was-file/x"),
        symlink(b"was-link", b"/"), directory(b"was-link/"), file(b"was-link/x"),
        file(b"a", b"a"), hard_link(b"b", b"a"), file(b"a", b"new"), hard_link(b"b", b"b"),
        directory(b"again/", 0o700), directory(b"again/", 0o755), symlink(b"s", b"1"), symlink(b"s", b"2"),
    ))  # fmt: skip
    tree = bench.tree(layer)
    assert (tree / "twice").read_bytes() == b"2"
    assert (tree / "was-dir").read_bytes() == b"file"
    assert (tree / "was-file/x").exists()
    assert (tree / "was-link/x").exists()
    assert ((tree / "a").read_bytes(), (tree / "b").read_bytes()) == (b"new", b"a")
    assert stat.S_IMODE((tree / "again").stat().st_mode) == 0o755
    assert os.readlink(tree / "s") == "2"


async def test_symlinks_of_the_layer_are_followed_inside_it(bench: Bench) -> None:
    layer = await bench.apply(archive(
        directory(b"usr/"), directory(b"usr/lib/"), symlink(b"lib", b"usr/lib"), file(b"lib/a", b"a"),
        symlink(b"up", b"../../../../usr"), file(b"up/b", b"b"),
        symlink(b"host", b"/etc"), file(b"host/passwd", b"mine"),
        symlink(b"chain", b"lib"), file(b"chain/c", b"c"), hard_link(b"hl", b"lib/a"), file(b"lib/.wh.old"),
    ))  # fmt: skip
    tree = bench.tree(layer)
    assert (tree / "usr/lib/a").read_bytes() == b"a"
    assert (tree / "usr/b").read_bytes() == b"b"
    assert (tree / "etc/passwd").read_bytes() == b"mine", "the layer's /etc, not ours"
    assert (tree / "usr/lib/c").read_bytes() == b"c"
    assert (tree / "hl").samefile(tree / "usr/lib/a")
    assert stat.S_ISCHR((tree / "usr/lib/old").lstat().st_mode)
    assert b"mine" not in Path("/etc/passwd").read_bytes()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "dot-dot": (archive(file(b"../../etc/x")), r"entry '../../etc/x' escapes the root"),
    "dot-dot inside": (archive(file(b"a/../../x")), r"entry 'a/../../x' escapes the root"),
    "dot-dot directory": (archive(directory(b"../d/")), "escapes the root"),
    "dot-dot by pax": (archive(pax({b"path": b"../x"}), file(b"x")), "escapes the root"),
    "dot-dot hard link": (archive(hard_link(b"x", b"../../etc/passwd")), "escapes the root"),
    "dot-dot whiteout": (archive(file(b".wh...")), "whiteout of nothing"),
    "whiteout of the directory": (archive(file(b"d/.wh..")), "whiteout of nothing"),
    "empty whiteout": (archive(file(b".wh.")), "whiteout of nothing"),
    "root as a file": (archive(file(b".")), "would replace the root"),
    "root as a symlink": (archive(symlink(b"./", b"/etc")), "would replace the root"),
    "hard link to a directory": (archive(directory(b"d/"), hard_link(b"x", b"d")), "hard link to a directory"),
    "hard link to the root": (archive(hard_link(b"x", b"/")), "hard link to the root"),
    "symlink loop": (archive(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x")), "too many symlinks"),
    "symlink that grows": (archive(symlink(b"a", b"a/a/a/a/a/a"), file(b"a/x")), "too many symlinks"),
    "file as directory": (archive(file(b"f"), file(b"f/x")), "entry 'f/x': File exists"),
    "name of 256 bytes": (archive(pax({b"path": b"n" * 256}), file(b"x")), "File name too long"),
    "path of 5000 bytes": (archive(pax({b"path": b"d/" * 2500}), file(b"x")), "path of more than"),
    "600 levels": (archive(pax({b"path": b"d/" * 600}), file(b"x")), "path of more than 4096 bytes or 512 levels"),
    "NUL in a name": (archive(pax({b"path": b"a\0b"}), file(b"x")), "zero byte"),
    "huge owner": (archive(pax({b"uid": b"4294967295"}), file(b"x")), "owner 4294967295:0 is out of range"),
    "negative owner": (archive(pax({b"gid": b"-1"}), file(b"x")), "owner 0:-1 is out of range"),
    "negative size": (archive(header(b"x", raw_size=tars.number_field(-1, 12))), "negative size"),
    "size beyond the archive": (header(b"x", size=10_000) + b"short", "ends in the middle of entry 'x'"),
    "huge size": (header(b"x", raw_size=tars.number_field(2**62, 12)), "ends in the middle of entry 'x'"),
    "size of 96 bits": (header(b"x", raw_size=b"\x80" + b"\x7f" * 11), "does not fit 64 bits"),
    "size in words": (header(b"x", raw_size=b"many"), "not a number"),
    "negative pax size": (archive(pax({b"size": b"-5"}), file(b"x")), "negative size"),
    "cut in a header": (file(b"x") + b"\1" * 100, "middle of a header"),
    "wrong checksum": (b"garbage" * 200, "not a tar header"),
    "extended header alone": (pax({b"path": b"x"}), "ends after an extended header"),
    "extended header of 2 MiB": (header(b"x", b"x", size=2 << 20), "is larger than 1048576"),
    "long name of 2 MiB": (header(b"x", b"L", size=2 << 20), "is larger than 1048576"),
    "pax record too long": (header(b"p", b"x", size=10) + tars.pad(b"99 a=bcde\n"), "malformed"),
    "pax record without key": (header(b"p", b"x", size=6) + tars.pad(b"6 =ab\n"), "no key"),
    "zeros, then more": (bytes(512) + file(b"x"), "followed by something else"),
    "unknown type": (archive(header(b"x", b"Q")), "type b'Q' is not known"),
    "sparse out of order": (
        archive(pax({b"GNU.sparse.map": b"10,10,5,5", b"GNU.sparse.size": b"99"}), file(b"x", b"x" * 15)),
        "out of order"),
    "sparse past its end": (
        archive(pax({b"GNU.sparse.map": b"10,10", b"GNU.sparse.size": b"5"}), file(b"x", b"x" * 10)), "past its end"),
    "sparse that does not add up": (
        archive(pax({b"GNU.sparse.map": b"0,10", b"GNU.sparse.size": b"50"}), file(b"x", b"x" * 20)), "does not fit"),
    "sparse map without end": (
        archive(pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"}),
                file(b"x", b"9999\n" + b"1\n" * 500)), "too long or cut short"),
    "sparse file of 2^62 bytes": (
        archive(pax({b"GNU.sparse.map": b"0,0", b"GNU.sparse.size": b"%d" % 2**62}), file(b"x")), "File too large"),
    "capability that is none": (
        archive(pax({b"SCHILY.xattr.security.capability": b"zz"}), file(b"x")), "Invalid argument"),
    "cut gzip": (gzip.compress(archive(file(b"x", os.urandom(5000))))[:-20], "gzip stream is cut short"),
    "damaged gzip": (gzip.compress(archive(file(b"x")))[:-8] + b"\0" * 8, "gzip stream is damaged"),
    "garbage behind gzip": (gzip.compress(archive()) + b"garbage", "garbage behind the gzip stream"),
    "damaged zstd": (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "zstd stream is damaged"),
    "cut zstd": (zstandard.compress(archive(file(b"x", os.urandom(500_000))))[:300_000], "ends in the middle"),
    "zstd that wants 2 GiB of memory": (b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(10), "zstd stream is damaged"),
    "xz": (b"\xfd7zXZ\0" + bytes(100), "compressed with xz; layers are gzip, zstd or plain tar"),
    "zip": (b"PK\3\4" + bytes(100), "compressed with zip"),
    "html": (b"<html><body>Log in to the hotel's network" * 30, "not a tar header"),
}  # fmt: skip


def fingerprint(top: Path) -> list[tuple[str, int, int, int]]:
    """What would change if something was written to, made in or removed from a tree."""
    found = []
    for directory_, _, names in os.walk(top):
        for path in [directory_, *(os.path.join(directory_, name) for name in names)]:
            info = os.lstat(path)
            found.append((path, info.st_mode, info.st_size, info.st_ctime_ns))
    return sorted(found)


async def test_hostile_layers_are_refused_and_touch_nothing(bench: Bench) -> None:
    """One worker for all of them: none leaves it in a state that matters to the next."""
    outside = bench.path / "root"
    (outside / "canary").write_text("alive")
    watched = (outside / "containers", outside / "content", Path("/etc/default"))
    before = [fingerprint(path) for path in watched]
    for case, (data, message) in HOSTILE.items():
        with pytest.raises(LayerInvalid) as refusal:
            await bench.apply_raw(data, tars.diff_id(data))
        assert re.search(message, str(refusal.value)), f"{case}: {refusal.value}"
        assert str(refusal.value).startswith("layer under-test: "), case
        assert bench.left_over() == [], case
        assert os.listdir(bench.layout.snapshots / "layers") == ["0"], case
        assert before == [fingerprint(path) for path in watched], case
    assert (outside / "canary").read_text() == "alive"


async def unpack_with(limits: Limits, data: bytes, target: Path) -> None:
    unpacker = Unpacker(limits)
    target.mkdir()
    fd = os.memfd_create("blob")
    try:
        os.write(fd, data)
        await unpacker.unpack(BlobSource("bomb", fd), target)
    finally:
        os.close(fd)
        await unpacker.close()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
async def test_decompression_bombs_meet_a_limit(tmp_path: Path, compress: object) -> None:
    bomb = compress(header(b"x", size=1 << 30) + bytes(64 << 20))  # type: ignore[operator]
    with pytest.raises(ResourceExhausted, match="layer bomb: it has more than 1048576 bytes when decompressed"):
        await unpack_with(Limits(max_bytes=1 << 20), bomb, tmp_path / "t")


async def test_too_many_entries_meet_a_limit(tmp_path: Path) -> None:
    many = archive(*(file(b"%d" % n) for n in range(101)))
    with pytest.raises(ResourceExhausted, match="more than 100 entries"):
        await unpack_with(Limits(max_entries=100), many, tmp_path / "t")


async def test_replacing_directories_without_end_meets_a_limit(tmp_path: Path) -> None:
    flip = directory(b"d/") + file(b"d")
    with pytest.raises(ResourceExhausted, match="replaces more than 10000 of its own directories"):
        await unpack_with(Limits(), archive(flip * 10_001), tmp_path / "t")


async def test_a_layer_that_is_all_in_passing_meets_a_limit(tmp_path: Path) -> None:
    many = archive(*(pax({b"path": b"%d/" % n + b"d/" * 400 + b"f"}) + file(b"x") for n in range(200)))
    with pytest.raises(ResourceExhausted, match="too much of it depends on the layers beneath"):
        await unpack_with(Limits(), many, tmp_path / "t")


async def test_a_sandbox_that_can_not_be_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = archive(file(b"x"))
    monkeypatch.setattr(bench.snapshots, "_staging", bench.layout.snapshots / "absent")
    with pytest.raises(OSError, match="absent"):
        await bench.apply(tar)
    monkeypatch.undo()
    unpacker, fd = bench.snapshots._unpacker, os.memfd_create("blob")
    with pytest.raises(Internal, match=r"layer x: the sandbox for layers can't be made: FileNotFoundError"):
        await unpacker.unpack(BlobSource("x", fd), bench.path / "no-such-directory")
    os.close(fd)


async def test_what_follows_the_archive_counts_for_the_diff_id(bench: Bench) -> None:
    layer = await bench.apply(archive(file(b"x")) + b"trailing" * 1000)
    assert (bench.tree(layer) / "x").exists()


async def test_several_gzip_members_and_zstd_frames(bench: Bench) -> None:
    tar = archive(file(b"x", b"1" * 5000), file(b"y", b"2"))
    skippable = b"\x50\x2a\x4d\x18\x05\0\0\0hello"
    for data in (
        gzip.compress(tar[:700]) + gzip.compress(tar[700:]) + bytes(300),
        zstandard.compress(tar[:700]) + skippable + zstandard.compress(tar[700:]) + skippable,
    ):
        bench.snapshots.collect([])
        assert (await bench.apply_raw(data, tars.diff_id(tar))).inodes == 2


async def test_a_full_disk(tmp_path: Path) -> None:
    top = tmp_path / "small"
    top.mkdir()
    mounts.tmpfs(top, size_bytes=2 << 20, mode=0o700)
    try:
        layout = Layout(top / "root", top / "run")
        layout.create()
        store = Store(tmp_path / "state.db")
        snapshots = OverlaySnapshotter(layout, store)
        tar = archive(file(b"a", b"x" * 1000), file(b"big", os.urandom(4 << 20)))
        with pytest.raises(ResourceExhausted, match=r"layer full: no space left for .*free space"):
            await apply(snapshots, tar, "full")
        assert os.listdir(layout.snapshots / "staging") == []
        await snapshots._tasks.drain(10)
        assert os.listdir(layout.trash) == []
        assert (await apply(snapshots, archive(file(b"a", b"x" * 1_000_000)), "small")).inodes == 1, (
            "space is free again"
        )
        await snapshots.close()
        store.close()
    finally:
        mounts.unmount(top)


async def apply(snapshots: OverlaySnapshotter, tar: bytes, name: str) -> Layer:
    fd = os.memfd_create("blob")
    try:
        os.write(fd, tar)
        return await snapshots.apply(Digest(tars.diff_id(tar)), BlobSource(name, fd))
    finally:
        os.close(fd)


# -- a blob that is still coming, and a worker that goes away


class Download:
    """A blob that grows under the test's hand."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("growing")
        self.size = 0
        self._news = asyncio.Event()
        self._done = self._failed = False

    def add(self, data: bytes) -> None:
        os.pwrite(self.fd, data, self.size)
        self.size += len(data)
        self._news.set()

    def end(self, *, failed: bool = False) -> None:
        self._done, self._failed = True, failed
        self._news.set()

    async def announced(self) -> AsyncIterator[int]:
        while True:
            await self._news.wait()
            self._news.clear()
            yield self.size
            if self._failed:
                raise DownloadAborted("the registry went away")
            if self._done:
                return


async def test_unpacking_follows_a_download(bench: Bench) -> None:
    blob = tars.blob(archive(file(b"first", b"1"), file(b"second", os.urandom(300_000))))
    download = Download()
    working = asyncio.ensure_future(  # noqa: TID251
        bench.snapshots.apply(Digest(blob.diff_id), BlobSource("growing", download.fd, download.announced()))
    )
    for at in range(0, len(blob.data), 50_000):
        download.add(blob.data[at : at + 50_000])
        await asyncio.sleep(0.05)
    async with asyncio.timeout(30):  # made before the download ends
        while not list((bench.layout.snapshots / "staging").glob("*/first")):
            await asyncio.sleep(0.02)
    assert not working.done()
    download.end()
    assert (await working).inodes == 2
    os.close(download.fd)


async def test_a_download_that_fails_takes_the_layer_with_it(bench: Bench) -> None:
    blob = tars.blob(archive(file(b"first", os.urandom(300_000))))
    download = Download()
    working = asyncio.ensure_future(  # noqa: TID251
        bench.snapshots.apply(Digest(blob.diff_id), BlobSource("growing", download.fd, download.announced()))
    )
    download.add(blob.data[:100_000])
    await asyncio.sleep(0.2)
    download.end(failed=True)
    with pytest.raises(DownloadAborted, match="the registry went away"):
        await working
    assert bench.left_over() == []
    os.close(download.fd)


async def busy(bench: Bench) -> tuple[asyncio.Future[object], Download]:
    """A layer that is being unpacked and waits for more."""
    download = Download()
    download.add(archive(file(b"x", b"x" * 5000))[:4000])
    working: asyncio.Future[object] = asyncio.ensure_future(  # noqa: TID251
        bench.snapshots.apply(Digest("sha256:" + "2" * 64), BlobSource("busy", download.fd, download.announced()))
    )
    deadline = time.monotonic() + 10
    staging = bench.layout.snapshots / "staging"
    while not list(staging.glob("*/x")) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return working, download


def worker_pid(bench: Bench) -> int:
    worker = bench.snapshots._unpacker._worker
    return worker.process.pid if worker else 0


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


async def gone(pid: int) -> None:
    for _ in range(250):
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return
        except OSError:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"process {pid} lives on")


async def test_a_cancelled_layer_is_gone(bench: Bench) -> None:
    working, download = await busy(bench)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert bench.left_over() == []
    assert children_of(worker_pid(bench)) == []
    os.close(download.fd)


async def test_a_killed_child_fails_its_layer_alone(bench: Bench) -> None:
    working, download = await busy(bench)
    os.kill(children_of(worker_pid(bench))[0], signal.SIGKILL)
    with pytest.raises(PodwrightError, match="layer busy: the process that unpacked it ended with signal 9"):
        await working
    assert bench.left_over() == []
    await bench.apply(archive(file(b"next")))
    os.close(download.fd)


async def test_a_killed_worker_is_replaced(bench: Bench) -> None:
    working, download = await busy(bench)
    [child] = children_of(worker_pid(bench))
    os.kill(worker_pid(bench), signal.SIGKILL)
    with pytest.raises(Unavailable, match="the layer worker died"):
        await working
    await gone(child)
    assert bench.left_over() == []
    await bench.apply(archive(file(b"next")))
    os.close(download.fd)


async def test_the_child_is_in_its_cage(bench: Bench) -> None:
    working, download = await busy(bench)
    [child] = children_of(worker_pid(bench))
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
    wanted = sum(1 << bit for bit in (0, 1, 3, 4, 27, 31))  # CHOWN DAC_OVERRIDE FOWNER FSETID MKNOD SETFCAP
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")] == [wanted] * 3 + [
        0,
        0,
    ]
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["NSpid"].split()[-1] == "1"
    for kind in ("mnt", "pid", "net", "ipc", "uts"):
        assert os.readlink(f"/proc/{child}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    assert len(list(mounts.mountinfo(str(child)))) == 1
    assert os.listdir(f"/proc/{child}/root") == ["x"]
    files = [os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")]
    assert not any("socket" in name for name in files)
    working.cancel()
    await asyncio.wait([working])
    os.close(download.fd)


async def test_two_layers_at_a_time(bench: Bench) -> None:
    first, download = await busy(bench)
    await bench.apply(archive(file(b"other")))
    assert not first.done()
    first.cancel()
    await asyncio.wait([first])
    os.close(download.fd)


async def test_an_idle_worker_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podwright.snapshot.layer._IDLE_S", 0.05)
    await bench.apply(archive(file(b"x")))
    pid = worker_pid(bench)
    await gone(pid)
    await bench.apply(archive(file(b"y")))


def test_a_real_tar_program_agrees(tmp_path: Path) -> None:
    """GNU tar reads what the helper writes: the corpus above is about tar, not about the helper."""
    data = archive(directory(b"d/"), file(b"d/f", b"x"), pax({b"path": b"long" * 50}), file(b"s", b"y"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["d", "d/f", "long" * 50]
