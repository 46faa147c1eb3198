"""Look at the host before anything is built: once at start (`host_facts`), and for each request (`inspect_request`).

The only file of this room that reads the host; it changes nothing. A request's mounts block where the host's file
systems block (a dead NFS server), so the caller runs `inspect_request` in a thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument, NotFound
from podwright.container.spec.devices import checked_permissions
from podwright.container.spec.facts import HostFacts, MountSource, RequestFacts
from podwright.container.spec.mounts import mount_destination
from podwright.container.spec.security import UNCONFINED, capabilities, seccomp_profile
from podwright.criapi import api_pb2 as pb
from podwright.device.cdi import CdiDevices, annotated_devices
from podwright.device.edits import Edits, gather
from podwright.linux.capability_sets import bounding_and_permitted
from podwright.linux.mounts import MountTable
from podwright.oci.runtime_spec import Device, Mount
from podwright.runtime.handlers import HandlerSettings
from podwright.security.capabilities import DEFAULT_CAPABILITIES
from podwright.security.limits import oom_score_adj_floor
from podwright.security.seccomp import default_profile, load_profile
from podwright.security.seccomp_filter import compiled

_DEV = Path("/dev")
# Not devices of the machine: terminals, memory, and what other engines put there.
_NOT_HOST_DEVICES = frozenset({"pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"})
_NO_CDI = CdiDevices()
_TYPES = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


def inspect_request(
    config: pb.ContainerConfig,
    host: HostFacts,
    *,
    image_volumes: Mapping[int, Path] | None = None,
    cdi: CdiDevices = _NO_CDI,
) -> RequestFacts:
    """What the request refers to. `image_volumes`: where images that it mounts lie, by the mount's number.

    Raises InvalidArgument, NotFound.
    """
    sources = mount_sources(config.mounts, image_volumes or {}, host)
    names = cdi_devices(config)
    edits = gather(cdi.edits(names)) if names else Edits()
    sources.update((mount.destination, _edited(mount)) for mount in edits.mounts)
    security = config.linux.security_context
    devices = list(host_devices()) if security.privileged and host.privileged_devices else []
    for index, device in enumerate(config.devices):
        devices += _requested(device, f"devices[{index}]")
    profile, program = _seccomp(security, host)
    return RequestFacts(sources=sources, devices=tuple(devices), edits=edits, seccomp=profile, seccomp_filter=program)


def cdi_devices(config: pb.ContainerConfig) -> list[str]:
    """The CDI devices of a request. Of annotations only the container's own count: the kubelet writes those, and the
    pod's are its user's."""
    asked = [device.name for device in config.CDI_devices]
    return list(dict.fromkeys([*asked, *annotated_devices(config.annotations)]))


def _edited(mount: Mount) -> MountSource:
    """A mount that a CDI device brings."""
    path = Path(mount.source)
    return MountSource(path, is_directory=mount.type != "bind" or path.is_dir())


def mount_sources(
    mounts: Iterable[pb.Mount], image_volumes: Mapping[int, Path], host: HostFacts
) -> dict[str, MountSource]:
    """The host side of each mount, by destination."""
    table = MountTable()
    sources = {}
    for at, mount in enumerate(mounts):
        field = f"mounts[{at}]"
        destination = mount_destination(mount.container_path, field)
        volume = image_volumes.get(at)
        if volume is None:
            sources[destination] = _host_path(mount, destination, field, host, table)
        else:
            # Nothing is ever mounted below an image's files, so that any propagation from there will do.
            sources[destination] = MountSource(volume, is_directory=volume.is_dir(), slave=True)
    return sources


def _host_path(mount: pb.Mount, destination: str, field: str, host: HostFacts, table: MountTable) -> MountSource:
    """A path of the host, symlinks followed. One that is missing is a directory to be made."""
    if not mount.host_path.startswith("/") or "\0" in mount.host_path:
        raise InvalidArgument(f"host_path {mount.host_path!r} must be an absolute path", field=field)
    try:
        path = Path(os.path.realpath(mount.host_path))
        info = path.stat() if path.exists() else None
    except OSError as error:
        raise InvalidArgument(f"host_path {mount.host_path} can't be used: {error.strerror}", field=field) from error
    if info is None and os.path.normpath(mount.host_path) in host.absent_sources_to_reject:
        raise NotFound(
            f"{field}: host_path {mount.host_path} does not exist, and container.absent_mount_sources_to_reject "
            "says that it must not be made"
        )
    source = MountSource(path, exists=info is not None, is_directory=info is None or stat.S_ISDIR(info.st_mode))
    if mount.propagation == pb.PROPAGATION_PRIVATE and destination != "/proc":
        return source
    under = table.holding(path)
    if under is None:
        return source
    is_procfs = under.fstype == "proc" and under.target == os.fspath(path)
    return replace(source, shared=under.shared, slave=under.slave, mount_point=under.target, procfs=is_procfs)


def host_devices() -> Iterator[tuple[Device, str]]:
    """Every device node of the host's /dev, for a privileged container."""
    for path in _nodes(_DEV):
        try:
            yield _device(path, str(path)), "rwm"
        except (OSError, InvalidArgument):
            continue  # gone meanwhile


def _requested(asked: pb.Device, field: str) -> Iterator[tuple[Device, str]]:
    """A device, or all devices below a directory, at the same place below the container path."""
    access = checked_permissions(asked.permissions, field)
    container_path = asked.container_path or asked.host_path
    for name, path in (("host_path", asked.host_path), ("container_path", container_path)):
        if not path.startswith("/") or "\0" in path:
            raise InvalidArgument(f"{name} {path!r} must be an absolute path", field=field)
    host_path, place = Path(asked.host_path), Path(os.path.normpath("/" + container_path.lstrip("/")))
    if not host_path.is_dir():
        try:
            yield _device(host_path, str(place)), access
        except OSError as error:
            raise NotFound(f"{field}: device {host_path}: {error.strerror}") from error
        return
    found = list(_nodes(host_path))
    if not found:
        raise NotFound(f"{field}: no device below {host_path}")
    for node in found:
        yield _device(node, str(place / node.relative_to(host_path))), access


def _nodes(directory: Path) -> Iterator[Path]:
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name in _NOT_HOST_DEVICES or entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _nodes(Path(entry.path))
        elif stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) in _TYPES:
            yield Path(entry.path)


def _device(path: Path, inside: str) -> Device:
    info = path.stat()
    kind = _TYPES.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        raise InvalidArgument(f"{path} is not a device")
    return Device(
        path=inside, type=kind, major=os.major(info.st_rdev), minor=os.minor(info.st_rdev),
        file_mode=stat.S_IMODE(info.st_mode), uid=info.st_uid, gid=info.st_gid,
    )  # fmt: skip


def _seccomp(security: pb.LinuxContainerSecurityContext, host: HostFacts) -> tuple[msgspec.Raw | None, str]:
    """The profile from a file, the handler's own default among them, and the compiled filter of any."""
    asked = seccomp_profile(security)
    if asked == UNCONFINED:
        return None, ""
    granted = capabilities(security, host).bounding
    file = asked.name if asked.kind == "localhost" else host.seccomp_profile
    profile = load_profile(file, granted) if file else None
    if not host.compiled_seccomp:
        return profile, ""
    return profile, compiled(default_profile(granted) if profile is None else profile)


def check_profiles(handlers: Mapping[str, HandlerSettings]) -> None:
    """Read the seccomp profiles that handlers have, while somebody looks. Raises InvalidArgument."""
    for name, settings in handlers.items():
        if settings.seccomp_profile is None:
            continue
        try:
            compiled(load_profile(str(settings.seccomp_profile), DEFAULT_CAPABILITIES))
        except (InvalidArgument, NotFound) as error:
            raise InvalidArgument(str(error), field=f"runtime.handlers.{name}.seccomp_profile") from error


def host_facts(
    *,
    unified_cgroups: bool,
    recursive_read_only: bool,
    compiled_seccomp: bool = False,
    allowed_annotations: tuple[str, ...] = (),
    default_profile_file: Path | None = None,
    privileged_devices: bool = True,
    device_ownership: bool = False,
    absent_sources_to_reject: tuple[str, ...] = (),
    selinux_optional: bool = False,
    hugepage_limits: bool = True,
    swap_limits: bool = True,
    unknown_capabilities: frozenset[str] = frozenset(),
    hidden_paths: bool = True,
) -> HostFacts:
    """The daemon's and the machine's side; the arguments depend on the cgroup driver and on the handler."""
    granted = bounding_and_permitted()
    if compiled_seccomp and default_profile_file is None:
        compiled(default_profile(DEFAULT_CAPABILITIES & granted))  # now, so that no pod waits for it
    return HostFacts(
        capabilities=granted - unknown_capabilities,
        oom_score_adj_min=oom_score_adj_floor(granted),
        unified_cgroups=unified_cgroups,
        recursive_read_only=recursive_read_only,
        compiled_seccomp=compiled_seccomp,
        hostname=os.uname().nodename,
        allowed_annotations=allowed_annotations,
        seccomp_profile=str(default_profile_file or ""),
        privileged_devices=privileged_devices,
        device_ownership=device_ownership,
        absent_sources_to_reject=tuple(map(os.path.normpath, absent_sources_to_reject)),
        selinux_optional=selinux_optional,
        hugepage_limits=hugepage_limits,
        swap_limits=swap_limits,
        hidden_paths=hidden_paths,
    )
