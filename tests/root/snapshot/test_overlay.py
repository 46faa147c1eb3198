"""The overlay snapshotter on the real kernel: layers to stacks to mounted containers, and back to nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path

import msgspec
import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument, NotFound
from podwright.linux.idmap import IdMaps, IdRange
from podwright.linux.userns import user_namespace
from podwright.oci.digest import Digest
from podwright.snapshot import overlay_mount
from tests.root.snapshot.conftest import Bench
from tests.support import tars

pytestmark = pytest.mark.root

BASE = tars.archive(
    tars.directory(b"./", 0o755), tars.directory(b"etc/", 0o750, uid=7, gid=8, mtime=1000),
    tars.file(b"etc/passwd", b"root"), tars.file(b"etc/group", b"g"),
    tars.directory(b"data/"), tars.file(b"data/old", b"old"), tars.file(b"gone", b"x"),
)  # fmt: skip


async def test_a_container_sees_the_union_and_keeps_what_it_writes(bench: Bench, target: Path) -> None:
    chain = await bench.stack(BASE, tars.archive(tars.directory(b"etc/", 0o751), tars.file(b"etc/passwd", b"new")))
    bench.snapshots.prepare("c1", chain)
    bench.snapshots.mount("c1", target)
    assert (target / "etc/passwd").read_bytes() == b"new"
    assert (target / "etc/group").read_bytes() == b"g"
    assert stat.S_IMODE((target / "etc").stat().st_mode) == 0o751
    (target / "written").write_bytes(b"x" * 10_000)
    assert bench.snapshots.usage("c1").bytes >= 10_000
    assert bench.snapshots.usage("c1").inodes == 1
    bench.snapshots.unmount(target)
    bench.snapshots.prepare("c1", chain)
    bench.snapshots.mount("c1", target)
    bench.snapshots.mount("c1", target)  # idempotent
    assert (target / "written").stat().st_size == 10_000


async def test_whiteouts_and_opaque_directories_hide_what_is_beneath(bench: Bench, target: Path) -> None:
    upper = tars.archive(
        tars.file(b".wh.gone"), tars.directory(b"data/"), tars.file(b"data/.wh..wh..opq"),
        tars.file(b"data/new", b"new"), tars.file(b"etc/.wh.group"),
    )  # fmt: skip
    bench.snapshots.prepare("c1", await bench.stack(BASE, upper))
    bench.snapshots.mount("c1", target)
    assert sorted(os.listdir(target)) == ["data", "etc"]
    assert os.listdir(target / "data") == ["new"]
    assert os.listdir(target / "etc") == ["passwd"]
    assert stat.S_IMODE((target / "etc").stat().st_mode) == 0o750, "etc is implicit in the upper layer"
    (target / "gone").write_text("again")
    assert (target / "gone").read_text() == "again"


@pytest.mark.parametrize("whiteout_first", [True, False])
async def test_a_whiteout_spares_what_its_own_layer_holds(bench: Bench, target: Path, whiteout_first: bool) -> None:
    entries = [
        tars.file(b".wh.data"),
        tars.directory(b"data/") + tars.file(b"data/new", b"n"),
        tars.file(b".wh.gone"),
        tars.file(b"gone", b"back"),
    ]
    upper = tars.archive(*(entries if whiteout_first else reversed(entries)))
    bench.snapshots.prepare("c1", await bench.stack(BASE, upper))
    bench.snapshots.mount("c1", target)
    assert os.listdir(target / "data") == ["new"]
    assert (target / "gone").read_bytes() == b"back"


async def test_the_root_directory_is_the_images(bench: Bench, target: Path) -> None:
    base = tars.archive(tars.directory(b"./", 0o711, uid=5, gid=6, mtime=12345), tars.file(b"a"))
    bench.snapshots.prepare("c1", await bench.stack(base, tars.archive(tars.file(b"b"))))
    bench.snapshots.mount("c1", target)
    info = target.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, int(info.st_mtime)) == (0o711, 5, 6, 12345)


async def test_no_layers_at_all(bench: Bench, target: Path) -> None:
    bench.snapshots.prepare("c1", await bench.stack())
    bench.snapshots.mount("c1", target)
    assert os.listdir(target) == []
    (target / "x").touch()


async def test_read_only(bench: Bench, target: Path) -> None:
    bench.snapshots.prepare("c1", await bench.stack(BASE))
    bench.snapshots.mount("c1", target, read_only=True)
    with pytest.raises(OSError, match="Read-only"):
        (target / "x").touch()


async def test_any_number_of_read_only_mounts(bench: Bench, target: Path) -> None:
    """They show the image's root directory as it is, and what one container makes of it is nothing to them."""
    base = tars.archive(tars.directory(b"./", mode=0o711, uid=5), tars.file(b"a"))
    bench.snapshots.prepare("c1", await bench.stack(base, tars.archive(tars.file(b"b"))))
    second = target.with_name("second")
    second.mkdir()
    bench.snapshots.mount("c1", target, read_only=True)
    bench.snapshots.mount("c1", second, read_only=True)
    try:
        for view in (target, second):
            assert sorted(os.listdir(view)) == ["a", "b"]
            assert (stat.S_IMODE(view.stat().st_mode), view.stat().st_uid) == (0o711, 5)
    finally:
        bench.snapshots.unmount(second)


async def test_a_read_only_mount_of_no_layers(bench: Bench, target: Path) -> None:
    bench.snapshots.prepare("c1", await bench.stack())
    bench.snapshots.mount("c1", target, read_only=True)
    assert os.listdir(target) == []


async def numbered_stack(bench: Bench, count: int) -> list[Digest]:
    return await bench.stack(
        *(tars.archive(tars.file(b"n%d" % n, b"%d" % n), tars.file(b"top", b"%d" % n)) for n in range(count))
    )


@pytest.mark.parametrize("old_kernel", [False, True])
async def test_120_layers(bench: Bench, target: Path, old_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old_kernel:
        monkeypatch.setattr(overlay_mount, "_open_by_parameters", lambda *_: None)
    here = Path.cwd()
    bench.snapshots.prepare("c1", await numbered_stack(bench, 120))
    bench.snapshots.mount("c1", target)
    assert len(os.listdir(target)) == 121
    assert (target / "top").read_bytes() == b"119"
    (target / "n0").write_text("changed")
    assert Path.cwd() == here


@pytest.mark.parametrize("old_kernel", [False, True])
def test_the_kernels_limit_of_layers(tmp_path: Path, old_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old_kernel:
        monkeypatch.setattr(overlay_mount, "_open_by_parameters", lambda *_: None)
    names = [f"{n:x}" for n in range(501)]
    for name in [*(f"layers/{n}" for n in names), "c/upper", "c/work", "target"]:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "layers" / names[499] / "deep").touch()
    target = tmp_path / "target"
    with pytest.raises(InvalidArgument, match="501 layers; the kernel's overlayfs stacks at most 500"):
        overlay_mount.mount_overlay(tmp_path / "layers", names, target, writable=tmp_path / "c")
    overlay_mount.mount_overlay(tmp_path / "layers", names[:500], target, writable=tmp_path / "c")
    try:
        assert (target / "deep").exists()
    finally:
        os.system(f"umount {target}")  # noqa: TID251


async def test_a_long_root_path(tmp_path: Path, bench: Bench) -> None:
    """A parameter of fsconfig(2) takes 255 characters; longer paths go the other way."""
    layers = tmp_path / ("d" * 150) / ("e" * 150)
    for name in ("1", "2", "c/upper", "c/work", "target"):
        (layers / name).mkdir(parents=True)
    overlay_mount.mount_overlay(layers, ["1", "2"], layers / "target", writable=layers / "c")
    assert (layers / "target").stat().st_dev != layers.stat().st_dev
    bench.snapshots.unmount(layers / "target")


async def test_layers_are_unpacked_once_and_shared(bench: Bench) -> None:
    first, second = await asyncio.gather(bench.apply(BASE), bench.apply(BASE))
    assert first == second
    assert len(os.listdir(bench.layout.snapshots / "layers")) == 2  # and the empty one


async def test_a_wrong_diff_id_leaves_nothing(bench: Bench) -> None:
    wrong = "sha256:" + "0" * 64
    with pytest.raises(InvalidArgument, match=r"layer under-test unpacks to sha256:\w+, its image says sha256:000"):
        await bench.apply_raw(BASE, wrong)
    assert bench.left_over() == []
    assert bench.snapshots.layer(Digest(wrong)) is None


async def test_an_uncommitted_stack_can_not_be_used(bench: Bench) -> None:
    layer = await bench.apply(BASE)
    with pytest.raises(NotFound, match="pull the image again"):
        bench.snapshots.prepare("c1", [layer.diff_id])
    with pytest.raises(NotFound, match="not unpacked"):
        await bench.snapshots.commit([layer.diff_id, Digest("sha256:" + "1" * 64)])
    with pytest.raises(NotFound):
        bench.snapshots.mount("c1", bench.path)
    with pytest.raises(NotFound):
        bench.snapshots.usage("c1")


async def test_collect_keeps_what_images_and_containers_need(bench: Bench) -> None:
    other = tars.archive(tars.file(b"other"))
    third = tars.archive(tars.file(b"third"))
    shared = await bench.stack(BASE, other)
    used = await bench.stack(BASE, third)
    bench.snapshots.prepare("c1", used)
    assert bench.snapshots.collect([shared]) == 0
    assert bench.snapshots.collect([]) == 1, "only `other` is in no stack that is used"
    assert bench.snapshots.layer(shared[1]) is None
    assert not bench.snapshots.committed(shared)
    assert bench.snapshots.committed(used)
    await bench.snapshots.remove("c1")
    await bench.snapshots.remove("c1")
    assert bench.snapshots.collect([]) == 2
    assert os.listdir(bench.layout.snapshots / "layers") == ["0"]
    assert os.listdir(bench.layout.snapshots / "containers") == []
    await bench.snapshots._tasks.drain(10)
    assert os.listdir(bench.layout.trash) == []


async def test_restart_keeps_what_was_committed_and_deletes_the_rest(bench: Bench, target: Path) -> None:
    chain = await bench.stack(BASE)
    bench.snapshots.prepare("c1", chain)
    bench.snapshots.mount("c1", target)
    (target / "mine").touch()
    top = bench.layout.snapshots
    for rubbish in ("staging/half/etc", "layers/zz/etc", "containers/unknown/upper"):
        (top / rubbish).mkdir(parents=True)
    (bench.layout.trash / "old").mkdir()
    again = bench.restarted()
    again.recover()
    try:
        assert os.listdir(top / "staging") == []
        assert os.listdir(top / "containers") == ["c1"]
        assert sorted(os.listdir(top / "layers")) == ["0", "1"]
        assert again.committed(chain)
        assert (target / "mine").exists(), "the mount is not touched"
        await again._tasks.drain(10)
        assert os.listdir(bench.layout.trash) == []
    finally:
        await again.close()


async def test_layers_that_were_not_synced_do_not_outlive_a_boot(bench: Bench) -> None:
    chain = await bench.stack(BASE)
    await bench.snapshots._tasks.drain(60)
    record = bench.snapshots._layers.get(chain[0])
    assert record is not None
    assert record.unsynced_boot == "", "synced in the background"
    for boot, kept in (("", True), ("another", False)):
        bench.store.table("layers", type(record)).put(chain[0], msgspec.structs.replace(record, unsynced_boot=boot))
        again = bench.restarted()
        again.recover()
        assert (again.layer(chain[0]) is not None) == kept
        assert again.committed(chain) == kept
        await again.close()


async def test_a_layer_whose_directory_is_gone_is_forgotten(bench: Bench) -> None:
    chain = await bench.stack(BASE)
    await bench.snapshots._tasks.drain(60)
    shutil.rmtree(bench.layout.snapshots / "layers" / "1")
    again = bench.restarted()
    again.recover()
    assert again.layer(chain[0]) is None
    assert not again.committed(chain)
    await again.close()


async def test_names_are_not_used_twice(bench: Bench) -> None:
    await bench.stack(BASE)
    again = bench.restarted()
    assert again._new_name() == "2"
    await again.close()


@pytest.mark.parametrize("old_kernel", [False, True])
async def test_a_user_namespaces_container_owns_its_image(
    bench: Bench, target: Path, monkeypatch: pytest.MonkeyPatch, *, old_kernel: bool
) -> None:
    """The layers are mapped, what is written is not; an old kernel's mount(2) does it as well as fsconfig(2)."""
    if old_kernel:
        monkeypatch.setattr(overlay_mount, "_open_by_parameters", lambda *_arguments: None)
    base = tars.archive(tars.directory(b"./", 0o755, uid=3, gid=4), tars.file(b"file", b"x", uid=5, gid=6))
    maps = IdMaps((IdRange(0, 200_000, 1000),), (IdRange(0, 300_000, 1000),))
    chain = await bench.stack(base)
    async with user_namespace(maps) as pid:
        bench.snapshots.prepare("c1", chain, maps=maps)
        bench.snapshots.mount("c1", target, userns=Path(f"/proc/{pid}/ns/user"))
    assert [(os.stat(p).st_uid, os.stat(p).st_gid) for p in (target, target / "file")] == [
        (200_003, 300_004), (200_005, 300_006),
    ]  # fmt: skip
    (target / "file").write_text("copied up")
    os.chown(target / "file", 200_007, 300_008)
    bench.snapshots.unmount(target)
    bench.snapshots.prepare("c2", chain)
    bench.snapshots.mount("c2", target)
    assert (os.stat(target / "file").st_uid, (target / "file").read_text()) == (5, "x"), "the layer is as it was"
    assert not [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "snapshots/layers" in line.split()[4]
    ]


async def test_the_probe_for_user_namespaces_leaves_nothing(bench: Bench) -> None:
    assert await bench.snapshots.idmap_problem() == ""
    assert bench.left_over() == []


async def test_the_probe_says_what_is_in_the_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, _userns: Path) -> int:
        raise FailedPrecondition(f"the file system of {source} can't be mounted with mapped ids")

    monkeypatch.setattr(overlay_mount, "clone_idmapped", refuse)
    assert "mapped ids" in await bench.snapshots.idmap_problem()
    assert bench.left_over() == []
