"""podman runs containers by podwright-vm, with no word from Podwright: it is an OCI runtime like any other."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - podman is what is tested with
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import cgroups, names
from tests.support.rootfs import busybox_rootfs

pytestmark = pytest.mark.root

PROGRAM = Path(sys.executable).with_name("podwright-vm")


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[list[str]]:
    """podman with state of its own, and an image `localhost/busybox`."""
    parent = names.cgroup()
    argv = [
        "podman", "--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"),
        "--tmpdir", str(tmp_path / "tmp"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
        "--events-backend", "none", "--runtime", str(PROGRAM),
    ]  # fmt: skip
    rootfs, archive = tmp_path / "rootfs", tmp_path / "rootfs.tar"
    busybox_rootfs(rootfs)
    subprocess.run(["tar", "-C", rootfs, "-cf", archive, "."], check=True)
    subprocess.run([*argv, "import", str(archive), "localhost/busybox"], check=True, capture_output=True)
    yield [*argv, "run", "--rm", "--network", "none", "--cgroup-parent", parent]
    cgroups.remove(parent)


def test_podman_runs_a_machine(podman: list[str], tmp_path: Path) -> None:
    """Its own kernel; input, both outputs and the exit code; a volume."""
    volume = tmp_path / "volume"
    volume.mkdir()
    script = "uname -r; cat > /volume/in; echo err >&2; exit 7"
    done = subprocess.run(
        [*podman, "-i", "-v", f"{volume}:/volume", "localhost/busybox", "sh", "-c", script],
        input=b"from the host\n", capture_output=True, timeout=200, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (7, b"err\n"), done
    assert done.stdout.decode().strip() != os.uname().release
    assert (volume / "in").read_bytes() == b"from the host\n"
