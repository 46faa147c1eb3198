"""Sizes and devices of real file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.linux.filesystem import device_name, file_system


def test_a_file_system(tmp_path: Path) -> None:
    found, figures = file_system(tmp_path), os.statvfs(tmp_path)
    assert found.size_bytes == figures.f_blocks * figures.f_frsize
    assert found.inodes == figures.f_files
    assert found.inodes_free <= found.inodes


def test_one_without_a_device() -> None:
    device = Path("/proc").stat().st_dev
    assert file_system(Path("/proc")).device == f"{os.major(device)}:{os.minor(device)}"


def test_the_name_of_a_device() -> None:
    devices = sorted(Path("/sys/dev/block").iterdir()) if Path("/sys/dev/block").exists() else []
    if not devices:
        pytest.skip("this machine has no block devices")
    major, minor = devices[0].name.split(":")
    assert device_name(int(major), int(minor)) == f"/dev/{devices[0].resolve().name.replace('!', '/')}"
