"""Layers that lean on those beneath them come out as if they had been unpacked onto them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.snapshot import overlay_mount
from tests.root.snapshot.conftest import Bench
from tests.support.tars import archive, directory, file, hard_link, pax, symlink

pytestmark = pytest.mark.root

BASE = archive(
    directory(b"./"), directory(b"usr/"), directory(b"usr/lib/", 0o711, uid=1, gid=2, mtime=1111),
    file(b"usr/lib/base.so", b"base", mode=0o4755, uid=5), symlink(b"lib", b"usr/lib"), symlink(b"abs", b"/usr/lib"),
    pax({b"SCHILY.xattr.user.note": b"kept"}), directory(b"etc/", 0o700, uid=3, gid=4, mtime=2222),
    file(b"etc/conf", b"c"), symlink(b"dangling", b"nowhere"), file(b"plain", b"p"), symlink(b"link", b"plain"),
)  # fmt: skip


@pytest.fixture(params=[False, True], ids=["new kernel", "old kernel"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(overlay_mount, "_open_by_parameters", lambda *_: None)


async def mount(bench: Bench, target: Path, *layers: bytes) -> list[str]:
    chain = await bench.stack(*layers)
    bench.snapshots.prepare("c", chain)
    bench.snapshots.mount("c", target)
    assert bench.left_over() == []
    record = next(stack for stack in bench.snapshots._stacks.values() if stack.chain == chain)
    return record.names


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("between", [False, True])
async def test_a_directory_in_passing_keeps_its_attributes(bench: Bench, target: Path, between: bool) -> None:
    layers = [BASE, archive(file(b"other"))] if between else [BASE]
    names = await mount(bench, target, *layers, archive(file(b"etc/app", b"a"), file(b"new/x", b"x")))
    assert len(names) == len(layers) + 2, "one bridge"
    info = (target / "etc").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, int(info.st_mtime)) == (0o700, 3, 4, 2222)
    assert os.getxattr(target / "etc", "user.note") == b"kept"
    assert sorted(os.listdir(target / "etc")) == ["app", "conf"]
    assert stat.S_IMODE((target / "new").stat().st_mode) == 0o755


async def test_described_directories_need_no_bridge(bench: Bench, target: Path) -> None:
    names = await mount(bench, target, BASE, archive(directory(b"etc/", 0o751), file(b"etc/app", b"a")))
    assert len(names) == 2
    assert stat.S_IMODE((target / "etc").stat().st_mode) == 0o751


async def test_a_described_directory_above_one_in_passing(bench: Bench, target: Path) -> None:
    await mount(bench, target, BASE, archive(directory(b"usr/", 0o750), file(b"usr/lib/x", b"x")))
    assert stat.S_IMODE((target / "usr").stat().st_mode) == 0o750
    assert stat.S_IMODE((target / "usr/lib").stat().st_mode) == 0o711


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", [b"lib", b"abs"])
async def test_through_a_symlink_of_a_lower_layer(bench: Bench, target: Path, name: bytes) -> None:
    upper = archive(
        file(name + b"/new.so", b"new"), file(name + b"/.wh.base.so"), directory(name + b"/sub/", 0o710),
        file(name + b"/sub/deep", b"deep"), file(b"usr/lib/direct", b"d"),
    )  # fmt: skip
    await mount(bench, target, BASE, upper)
    text = name.decode()
    assert (target / text).is_symlink(), "/lib still leads to /usr/lib"
    assert sorted(os.listdir(target / "usr/lib")) == ["direct", "new.so", "sub"]
    assert (target / "usr/lib/new.so").read_bytes() == b"new"
    assert (target / "usr/lib/sub/deep").read_bytes() == b"deep"
    assert stat.S_IMODE((target / "usr/lib/sub").stat().st_mode) == 0o710
    assert stat.S_IMODE((target / "usr/lib").stat().st_mode) == 0o711


async def test_an_opaque_directory_behind_a_symlink(bench: Bench, target: Path) -> None:
    await mount(bench, target, BASE, archive(file(b"lib/.wh..wh..opq"), file(b"lib/only", b"o")))
    assert (target / "lib").is_symlink()
    assert os.listdir(target / "usr/lib") == ["only"]


async def test_a_symlink_that_leads_nowhere_or_to_a_file_gives_way(bench: Bench, target: Path) -> None:
    await mount(bench, target, BASE, archive(file(b"dangling/x", b"1"), file(b"link/y", b"2"), file(b"plain/z", b"3")))
    for name in ("dangling/x", "link/y", "plain/z"):
        assert (target / name).exists()


async def test_an_opaque_directory_in_passing_hides_and_keeps_attributes(bench: Bench, target: Path) -> None:
    await mount(bench, target, BASE, archive(file(b"etc/.wh..wh..opq"), file(b"etc/sub/x")))
    assert os.listdir(target / "etc") == ["sub"]
    assert stat.S_IMODE((target / "etc").stat().st_mode) == 0o700


@pytest.mark.usefixtures("kernel")
async def test_hard_links_to_files_of_lower_layers(bench: Bench, target: Path) -> None:
    upper = archive(hard_link(b"one", b"usr/lib/base.so"), hard_link(b"two", b"lib/base.so"),
                    hard_link(b"lib/three", b"etc/conf"), hard_link(b"l", b"abs"))  # fmt: skip
    await mount(bench, target, BASE, upper)
    for name in ("one", "two"):
        info = (target / name).stat()
        assert (target / name).read_bytes() == b"base"
        assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o4755, 5)
    assert (target / "usr/lib/three").read_bytes() == b"c"
    assert os.readlink(target / "l") == "/usr/lib"


async def test_a_hard_link_to_nothing_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArgument, match=r"layer sha256:\w+: hard link 'x' to 'no/such', which is in no layer"):
        await bench.stack(BASE, archive(hard_link(b"x", b"no/such")))
    assert bench.left_over() == []


async def test_a_hard_link_to_the_hosts_file_by_way_of_symlinks_is_refused(bench: Bench) -> None:
    base = archive(symlink(b"host", b"../../../../../../../etc"), directory(b"etc/"))
    with pytest.raises(InvalidArgument, match="in no layer"):
        await bench.stack(base, archive(hard_link(b"x", b"host/hostname")))


async def test_bridges_are_collected_with_their_stack(bench: Bench) -> None:
    chain = await bench.stack(BASE, archive(file(b"etc/app", b"a")))
    layers = bench.layout.snapshots / "layers"
    assert len(os.listdir(layers)) == 4
    assert bench.snapshots.collect([chain]) == 0
    assert len(os.listdir(layers)) == 4
    bench.snapshots.collect([])
    assert os.listdir(layers) == ["0"]


async def test_the_same_layer_over_another_base_gets_another_bridge(bench: Bench, target: Path) -> None:
    upper = archive(file(b"etc/app", b"a"))
    await bench.stack(BASE, upper)
    other = archive(directory(b"etc/", 0o705))
    await mount(bench, target, other, upper)
    assert stat.S_IMODE((target / "etc").stat().st_mode) == 0o705
