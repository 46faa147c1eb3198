"""Finding a kernel and its modules."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from podwright.base.errors import InvalidArgument, NotFound
from podwright.vm.guest_kernel import find_kernel, module_content

VERSION = "6.1.0-9-cloud-amd64"


def image(path: Path, version: str = VERSION) -> Path:
    """A header with the fields that are read. kernel: arch/x86/boot.rst."""
    head = bytearray(0x4000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x1000).to_bytes(2, "little")
    words = f"{version} (someone) #1 SMP\0".encode()
    head[0x1200 : 0x1200 + len(words)] = words
    path.write_bytes(head)
    return path


def modules(directory: Path, version: str = VERSION) -> Path:
    (directory / version).mkdir(parents=True)
    (directory / version / "modules.dep").write_text(
        "kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko kernel/virtio.ko kernel/ring.ko\n"
        "kernel/fs/fuse/fuse.ko:\nkernel/virtio.ko: kernel/ring.ko\nkernel/ring.ko:\nkernel/net/virtio-net.ko.xz:\n"
    )
    (directory / version / "modules.builtin").write_text("kernel/drivers/virtio/virtio_mmio.ko\n")
    return directory


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    kernel = find_kernel(image(tmp_path / "vmlinuz"), modules(tmp_path / "modules"))
    assert kernel.version == VERSION
    order = kernel.load_order(["virtio_mmio", "virtiofs"], ["virtio_net", "nosuch"])
    assert [path.name for path in order] == ["ring.ko", "virtio.ko", "fuse.ko", "virtiofs.ko", "virtio-net.ko.xz"]


def test_a_module_that_is_needed_and_missing_is_named(tmp_path: Path) -> None:
    kernel = find_kernel(image(tmp_path / "vmlinuz"), modules(tmp_path / "modules"))
    with pytest.raises(NotFound, match=r"has no module nosuch.*linux-image-cloud-amd64"):
        kernel.load_order(["nosuch"], [])


def test_the_directory_of_one_version_is_taken_as_well(tmp_path: Path) -> None:
    directory = modules(tmp_path / "modules") / VERSION
    assert find_kernel(image(tmp_path / "vmlinuz"), directory).modules == directory


def test_modules_of_another_version_do_not_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=rf"the modules of the kernel {VERSION} .* are not in .*: install the package"):
        find_kernel(image(tmp_path / "vmlinuz"), modules(tmp_path / "modules", "6.1.0-8-cloud-amd64"))


def test_what_is_no_kernel(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no kernel")
    with pytest.raises(InvalidArgument, match="is no Linux kernel"):
        find_kernel(tmp_path / "x")
    with pytest.raises(NotFound, match="can't be read: No such file"):
        find_kernel(tmp_path / "nosuch")


def test_compressed_modules_are_unpacked(tmp_path: Path) -> None:
    for name, data in (
        ("a.ko", b"elf"), ("a.ko.gz", gzip.compress(b"elf")), ("a.ko.xz", lzma.compress(b"elf")),
        ("a.ko.zst", zstandard.ZstdCompressor().compress(b"elf")),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        assert module_content(tmp_path / name) == b"elf"
