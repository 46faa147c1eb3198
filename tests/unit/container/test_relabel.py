"""Which sources of a request get a label."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.relabel import relabel_sources
from podwright.container.spec.facts import MountSource, RequestFacts
from podwright.criapi import api_pb2 as pb

pytestmark = pytest.mark.root

LABEL = "system_u:object_r:container_file_t:s0"


def labelled(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if "security.selinux" in os.listxattr(path))


async def test_those_that_ask(tmp_path: Path) -> None:
    config = pb.ContainerConfig()
    for name, relabel, image in (("asks", True, ""), ("silent", False, ""), ("image", True, "sha256:1")):
        (tmp_path / name).mkdir()
        mount = config.mounts.add(container_path=f"/{name}/", selinux_relabel=relabel)
        mount.image.image = image
    request = RequestFacts(sources={f"/{path.name}": MountSource(path) for path in tmp_path.iterdir()})
    await relabel_sources(config, request, "")
    assert labelled(tmp_path) == [], "no SELinux, no label"
    await relabel_sources(config, request, LABEL)
    assert labelled(tmp_path) == ["asks"]


async def test_the_systems_own() -> None:
    config = pb.ContainerConfig(mounts=[pb.Mount(container_path="/x", host_path="/etc", selinux_relabel=True)])
    with pytest.raises(InvalidArgument, match=r"mounts\[0\]: /etc belongs to the system"):
        await relabel_sources(config, RequestFacts(sources={"/x": MountSource(Path("/etc"))}), LABEL)
