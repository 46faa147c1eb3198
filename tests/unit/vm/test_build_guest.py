"""The guest's first file system, built with the real interpreter and linker, and a kernel that is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument, NotFound
from podwright.linux.process import run
from podwright.vm.build_guest import OPTIONAL_MODULES, REQUIRED_MODULES, GuestSettings, guest
from podwright.vm.sharing import MODULES, NINE_P, VIRTIOFS
from tests.unit.vm.test_guest_kernel import VERSION, image, modules

SIZE_LIMIT_BYTES = 24 << 20


@pytest.fixture
def settings(tmp_path: Path) -> GuestSettings:
    directory = modules(tmp_path / "modules") / VERSION
    names = REQUIRED_MODULES + OPTIONAL_MODULES + MODULES[VIRTIOFS]
    (directory / "modules.dep").write_text("".join(f"{name}.ko:\n" for name in names))
    for name in names:
        (directory / f"{name}.ko").write_bytes(name.encode())
    return GuestSettings(tmp_path / "guest", image(tmp_path / "vmlinuz"), directory)


def test_what_is_built_is_found_again_until_something_changes(settings: GuestSettings, tmp_path: Path) -> None:
    made = guest(settings)
    assert made.version == VERSION
    assert made.kernel.read_bytes() == (tmp_path / "vmlinuz").read_bytes()
    assert made.initrd.stat().st_size < SIZE_LIMIT_BYTES
    before = made.initrd.stat().st_ino
    assert guest(settings) == made
    assert made.initrd.stat().st_ino == before
    assert guest(settings, force=True) == made
    assert made.initrd.stat().st_ino != before
    image(tmp_path / "vmlinuz")
    assert guest(settings) != made
    assert made.initrd.exists(), "machines that start now may still need it"


async def test_the_agent_starts_from_it_with_nothing_else(settings: GuestSettings, tmp_path: Path) -> None:
    """In a root of its own: every module and library that it imports is there."""
    import asyncio

    made = await asyncio.to_thread(guest, settings)
    root = tmp_path / "root"
    root.mkdir()
    await run(["busybox", "cpio", "-id"], stdin=made.initrd.read_bytes(), cwd=root)
    first_line = (root / "init").read_text().splitlines()[0]
    interpreter = first_line.removeprefix("#!").split()[0]
    program = "import sys; sys.path.insert(0, '/agent'); import podwright.guest.init as i; print(i.__name__)"
    done = await run(["unshare", "--map-root-user", "chroot", root, interpreter, "-ISB", "-c", program])
    assert done.stdout == b"podwright.guest.init\n"
    assert sorted(path.name for path in (root / "modules").iterdir())[0] == "00-virtio_mmio.ko"


def test_what_is_missing_is_named(settings: GuestSettings, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="python is missing, which virtual machines need: install python3-minimal"):
        guest(dataclasses.replace(settings, python=tmp_path / "python"))
    with pytest.raises(InvalidArgument, match=r"can't run the guest's agent: Python 3.11 or newer is needed"):
        guest(dataclasses.replace(settings, python=Path("/bin/false")))
    assert not list(tmp_path.glob("guest/initrd-*"))


def test_another_way_to_the_files_is_another_file_system(settings: GuestSettings) -> None:
    """It needs modules of its own; a kernel without them is told apart, with the ways out."""
    by_9p = dataclasses.replace(settings, share=NINE_P)
    with pytest.raises(NotFound, match=r"no module 9p, .*install virtiofsd .*linux-image-amd64"):
        guest(by_9p)
    assert settings.kernel_modules is not None
    with (settings.kernel_modules / "modules.dep").open("a") as file:
        for name in MODULES[NINE_P]:
            file.write(f"{name}.ko:\n")
            (settings.kernel_modules / f"{name}.ko").write_bytes(name.encode())
    assert b"9pnet_virtio.ko" in guest(by_9p).initrd.read_bytes()
    assert b"9pnet_virtio.ko" not in guest(settings).initrd.read_bytes()
