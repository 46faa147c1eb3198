"""From a volume of a manifest to `model.Volume`."""

from __future__ import annotations

import posixpath

from podwright.cli.manifest import fields, quantity
from podwright.cli.manifest.model import ConfigMapItem, ConfigMapVolume, EmptyDir, HostPath, Volume
from podwright.cli.manifest.node import Node
from podwright.cli.manifest.read_container import check_sub_path, read_quantity

HOST_PATH_TYPES = (
    "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice",
)  # fmt: skip
_SOURCES = ("emptyDir", "hostPath", "configMap")


def read_volume(node: Node) -> Volume:
    """One of spec.volumes."""
    node.only({"name", *_SOURCES}, refused=fields.VOLUME_REFUSED)
    sources = [name for name in _SOURCES if name in node]
    if len(sources) > 1:
        raise node.error(sources[1], f"a volume has one source, and this has {' and '.join(sources)}")
    name = node.required_text("name")
    if not sources:
        # As the API server has it: a volume without a source is an emptyDir.
        return Volume(name, EmptyDir(), node.path)
    source = node.child(sources[0])
    assert source is not None
    match sources[0]:
        case "emptyDir":
            return Volume(name, read_empty_dir(source), node.path)
        case "hostPath":
            return Volume(name, read_host_path(source), node.path)
        case _:
            return Volume(name, read_config_map(source), node.path)


def read_empty_dir(node: Node) -> EmptyDir:
    """An emptyDir. A size limit holds in memory only: the kubelet enforces the others by eviction."""
    node.only({"medium", "sizeLimit"})
    medium = node.text("medium")
    if medium.startswith("HugePages"):
        raise node.error("medium", "huge pages can't be played; known: Memory")
    node.choice("medium", ("", "Memory"), "")
    limit = quantity.whole(read_quantity(node, "sizeLimit")) if "sizeLimit" in node else 0
    if limit and medium != "Memory":
        node.warn("sizeLimit", "limits of disk space are the kubelet's work; ignored")
    return EmptyDir(medium == "Memory", limit)


def read_host_path(node: Node) -> HostPath:
    """A hostPath."""
    node.only({"path", "type"})
    path = node.required_text("path")
    if not path.startswith("/") or ".." in path.split("/"):
        raise node.error("path", f"{path!r} must be an absolute path without ..")
    return HostPath(posixpath.normpath(path), node.choice("type", HOST_PATH_TYPES, ""))


def read_config_map(node: Node) -> ConfigMapVolume:
    """A configMap volume."""
    node.only({"name", "items", "defaultMode", "optional"})
    items = []
    for item in node.children("items"):
        item.only({"key", "path", "mode"})
        path = item.required_text("path")
        check_sub_path(item, "path", path)
        items.append(ConfigMapItem(item.required_text("key"), path, item.integer("mode", most=0o777)))
    mode = node.integer("defaultMode", most=0o777)
    return ConfigMapVolume(
        node.required_text("name"), tuple(items), 0o644 if mode is None else mode, bool(node.flag("optional"))
    )
