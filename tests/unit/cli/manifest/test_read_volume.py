"""Volumes: three sources, and many that need a cluster."""

from typing import Any

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.fields import VOLUME_REFUSED
from podwright.cli.manifest.model import ConfigMapItem, ConfigMapVolume, EmptyDir, HostPath, Volume
from tests.unit.cli.manifest.pods import pod


def source(fields: dict[str, Any], warnings: list[str] | None = None) -> object:
    (volume,) = pod({"volumes": [{"name": "v", **fields}]}, warnings=warnings).volumes
    assert volume == Volume("v", volume.source, "spec.volumes[0]")
    return volume.source


def test_sources() -> None:
    assert source({}) == EmptyDir()
    assert source({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}) == EmptyDir(
        memory=True, size_limit_bytes=2**20
    )
    assert source({"hostPath": {"path": "/a/b/", "type": "Directory"}}) == HostPath("/a/b", "Directory")
    assert source({"configMap": {"name": "c"}}) == ConfigMapVolume("c")
    assert source(
        {
            "configMap": {
                "name": "c",
                "defaultMode": 0o400,
                "optional": True,
                "items": [{"key": "k", "path": "p/q", "mode": 0o600}],
            }
        }
    ) == ConfigMapVolume("c", (ConfigMapItem("k", "p/q", 0o600),), 0o400, optional=True)


def test_a_limit_on_disk_is_warned_of() -> None:
    warnings: list[str] = []
    source({"emptyDir": {"sizeLimit": "1Gi"}}, warnings)
    assert warnings == ["spec.volumes[0].emptyDir.sizeLimit: limits of disk space are the kubelet's work; ignored"]


@pytest.mark.parametrize("kind", VOLUME_REFUSED)
def test_what_needs_a_cluster_is_refused(kind: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^spec.volumes\[0\].{kind}: "):
        source({kind: {"x": "y"}})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"emptydir": {}}, r"emptydir: unknown field; did you mean emptyDir\?"),
        ({"emptyDir": {"medium": "Disk"}}, "emptyDir.medium: must be one of"),
        ({"emptyDir": {"medium": "HugePages-2Mi"}}, "emptyDir.medium: huge pages"),
        ({"emptyDir": {}, "configMap": {"name": "c"}}, "configMap: a volume has one source"),
        ({"hostPath": {"path": "a"}}, "hostPath.path: 'a' must be an absolute path"),
        ({"hostPath": {"path": "/a/../b"}}, "hostPath.path: '/a/../b' must be an absolute path without"),
        ({"hostPath": {"path": "/a", "type": "Dir"}}, "hostPath.type: must be one of"),
        ({"configMap": {"name": "c", "items": [{"key": "k", "path": "/p"}]}}, r"configMap.items\[0\].path: '/p'"),
        ({"configMap": {"name": "c", "defaultMode": 0o1777}}, "configMap.defaultMode: must be from 0 to 511"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^spec.volumes\[0\]\.{message}"):
        source(fields)
