"""What the machine is booted from."""

from __future__ import annotations

import gzip
import subprocess  # noqa: TID251 - busybox reads the archive, as the kernel would
from pathlib import Path

from machine.initramfs import initramfs
from machine.kernel import Kernel


def test_the_archive_can_be_unpacked(tmp_path: Path) -> None:
    modules = [tmp_path / "first.ko", tmp_path / "second.ko"]
    for module in modules:
        module.write_bytes(module.name.encode())
    archive = gzip.decompress(initramfs(b"#!/bin/busybox sh\n", modules))
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["busybox", "cpio", "-id"], input=archive, cwd=target, check=True, capture_output=True)
    assert (target / "init").read_bytes() == b"#!/bin/busybox sh\n"
    assert (target / "init").stat().st_mode & 0o777 == 0o755
    assert [path.read_text() for path in sorted((target / "modules").iterdir())] == ["first.ko", "second.ko"]
    assert (target / "bin/busybox").read_bytes() == Path("/bin/busybox").read_bytes()


def test_modules_are_loaded_after_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "6.1").mkdir()
    (tmp_path / "6.1/modules.dep").write_text(
        "kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n"
        "kernel/fs/fuse/fuse.ko:\n"
        "kernel/virtio/virtio-mmio.ko.xz: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n"
    )
    order = Kernel("6.1", tmp_path / "vmlinuz", tmp_path).load_order(["virtio_mmio", "virtiofs"])
    assert [path.name.split(".")[0] for path in order] == ["virtio_ring", "virtio", "virtio-mmio", "fuse", "virtiofs"]
