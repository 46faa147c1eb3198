"""Volumes on the host: directories, memory, files of ConfigMaps, and the host's own paths."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from podwright.base.errors import InvalidArgument
from podwright.base.files import write_plain
from podwright.cli.manifest.cri_container import sub_path
from podwright.cli.manifest.environment import missing
from podwright.cli.manifest.facts import Host
from podwright.cli.manifest.model import ConfigMaps, ConfigMapVolume, EmptyDir, HostPath, Volume, VolumeMount
from podwright.linux import mounts
from podwright.linux.paths import make_directories_in_root, open_in_root

_KINDS = {
    "Directory": (stat.S_ISDIR, "a directory"), "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"), "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket"), "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}  # fmt: skip


def make_volume(volume: Volume, path: Path, config_maps: ConfigMaps, host: Host, fs_group: int | None) -> None:
    """Make a volume at `path`, or check that the host's path is what the manifest says."""
    match volume.source:
        case HostPath():
            check_host_path(volume.source, volume.where)
            return
        case EmptyDir():
            make_empty_dir(volume.source, path, host)
        case ConfigMapVolume():
            write_config_map(volume.source, path, config_maps, volume.where)
    if fs_group is not None:
        give_to_group(path, fs_group)


def make_empty_dir(source: EmptyDir, path: Path, host: Host) -> None:
    """A directory that every user in the pod may write to."""
    path.mkdir()
    if source.memory:
        size = source.size_limit_bytes or host.memory_bytes // 2
        mounts.tmpfs(path, size_bytes=size, mode=0o777, name="podwright-play", executable=True)
    path.chmod(0o777)


def write_config_map(source: ConfigMapVolume, path: Path, config_maps: ConfigMaps, where: str) -> None:
    """A ConfigMap's keys as files, or those that `items` names, at the paths it gives them."""
    data = config_maps.get(source.config_map)
    if data is None and not source.optional:
        raise missing(f"ConfigMap {source.config_map!r}", f"{where}.configMap")
    data = data or {}
    path.mkdir(mode=0o755)
    wanted = [(item.key, item.path, item.mode) for item in source.items] or [(key, key, None) for key in data]
    for key, name, mode in wanted:
        if key not in data:
            if source.optional:
                continue
            raise missing(f"key {key!r} of ConfigMap {source.config_map!r}", f"{where}.configMap.items")
        target = path / name
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_plain(target, data[key], mode=source.default_mode if mode is None else mode)


def check_host_path(source: HostPath, where: str) -> None:
    """The checks that the type asks for; the …OrCreate types make what is missing."""
    if not source.type:
        return
    path, (right, kind) = Path(source.path), _KINDS[source.type]
    if not path.exists():
        if source.type == "DirectoryOrCreate":
            path.mkdir(mode=0o755, parents=True)
        elif source.type == "FileOrCreate" and path.parent.is_dir():
            path.touch(mode=0o644)
        else:
            raise InvalidArgument(f"{source.path} isn't there", field=f"{where}.hostPath")
    if not right(path.stat().st_mode):
        raise InvalidArgument(f"{source.path} is not {kind}", field=f"{where}.hostPath")


def give_to_group(path: Path, group: int) -> None:
    """fsGroup: the group owns the volume, may do what the owner may, and owns what is added."""
    for directory, _, names in os.walk(path):
        here = Path(directory)
        os.chown(here, -1, group)
        here.chmod(here.stat().st_mode & 0o7777 | 0o2770)
        for file in (here / name for name in names):
            os.chown(file, -1, group)
            mode = file.stat().st_mode & 0o7777
            file.chmod(mode | (mode & 0o600) >> 3)


def resolve_sub_path(mount: VolumeMount, volume: Path, variables: dict[str, str]) -> str:
    """The host path of a sub path, symbolic links resolved within the volume; missing directories are made."""
    path = sub_path(mount, variables)
    try:
        fd = _open_or_make(volume, path)
    except OSError as error:
        raise InvalidArgument(f"{path!r} in the volume can't be used: {error.strerror}", field=mount.where) from error
    try:
        return os.fspath(Path(f"/proc/self/fd/{fd}").readlink())
    finally:
        os.close(fd)


def _open_or_make(volume: Path, path: str) -> int:
    try:
        return open_in_root(volume, path, os.O_PATH)
    except FileNotFoundError:
        make_directories_in_root(volume, path)
        return open_in_root(volume, path, os.O_PATH)
