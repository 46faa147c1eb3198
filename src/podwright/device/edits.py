"""CDI edits as changes of an OCI specification: `gather` looks at the host, `apply_edits` is pure."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument, NotFound
from podwright.device.cdi_spec import NO_PERMISSIONS, ContainerEdits, DeviceNode
from podwright.oci.runtime_spec import Device, DeviceRule, Hook, IntelRdt, LinuxResources, Mount, Process, Spec

_TYPES = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}


@dataclass(frozen=True)
class Edits:
    """All that the devices of one container change. `devices`: nodes with their access, '' for none."""

    env: tuple[str, ...] = ()
    devices: tuple[tuple[Device, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[tuple[str, Hook], ...] = ()
    additional_gids: tuple[int, ...] = ()
    intel_rdt: IntelRdt | None = None


def gather(all_edits: Sequence[ContainerEdits]) -> Edits:
    """The edits together, with what they leave to the host filled in. Raises NotFound, InvalidArgument."""
    classes = [edits.intel_rdt for edits in all_edits if edits.intel_rdt is not None]
    return Edits(
        env=tuple(variable for edits in all_edits for variable in edits.env),
        devices=tuple(_device(node) for edits in all_edits for node in edits.device_nodes),
        mounts=tuple(_mounts(all_edits)),
        hooks=tuple(_hooks(all_edits)),
        additional_gids=tuple(dict.fromkeys(gid for edits in all_edits for gid in edits.additional_gids if gid)),
        intel_rdt=IntelRdt(**msgspec.structs.asdict(classes[-1])) if classes else None,
    )


def _device(node: DeviceNode) -> tuple[Device, str]:
    host_path = node.host_path or node.path
    access = {"": "rwm", NO_PERMISSIONS: ""}.get(node.permissions, node.permissions)
    kind, major, minor, mode = node.type, node.major, node.minor, node.file_mode
    complete = bool(kind and (major or kind == "p"))
    try:
        info = os.lstat(host_path)
    except OSError as error:
        if not complete:
            raise NotFound(f"CDI device node {host_path}: {error.strerror}") from error
    else:
        mode = stat.S_IMODE(info.st_mode) if mode is None else mode
        if not complete:
            kind, major, minor = _found(host_path, info, kind)
    device = Device(path=node.path, type=kind, major=major, minor=minor, file_mode=mode, uid=node.uid, gid=node.gid)
    return device, access


def _found(path: str, info: os.stat_result, expected: str) -> tuple[str, int, int]:
    kind = _TYPES.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        raise InvalidArgument(f"CDI device node {path} is not a device")
    if expected and {"u": "c"}.get(expected, expected) != kind:
        raise InvalidArgument(f"CDI device node {path} is of type {kind}, its specification says {expected}")
    return expected or kind, os.major(info.st_rdev), os.minor(info.st_rdev)


def _mounts(all_edits: Iterable[ContainerEdits]) -> Iterator[Mount]:
    for mount in (mount for edits in all_edits for mount in edits.mounts):
        kind = mount.type or ("bind" if {"bind", "rbind"} & set(mount.options) else "")
        if kind in ("", "bind") and not Path(mount.host_path).exists():
            raise NotFound(f"CDI mount {mount.host_path}: No such file or directory")
        options = list(mount.options)
        if kind in ("", "bind") and not {"bind", "rbind"} & set(options):
            options.insert(0, "bind")
        yield Mount(
            destination=posixpath.normpath("/" + mount.container_path.lstrip("/")), source=mount.host_path,
            type=kind or "bind", options=options,
        )  # fmt: skip


def _hooks(all_edits: Iterable[ContainerEdits]) -> Iterator[tuple[str, Hook]]:
    for hook in (hook for edits in all_edits for hook in edits.hooks):
        yield hook.hook_name, Hook(path=hook.path, args=list(hook.args), env=list(hook.env), timeout=hook.timeout)


def apply_edits(spec: Spec, edits: Edits) -> None:
    """Change `spec`. What a device brings replaces what was at the same path or of the same name."""
    _add_environment(spec.process, edits.env)
    _add_devices(spec, edits.devices)
    for mount in edits.mounts:
        spec.mounts = [other for other in spec.mounts if other.destination != mount.destination] + [mount]
    spec.mounts.sort(key=lambda mount: mount.destination.count("/"))
    for name, hook in edits.hooks:
        spec.hooks = {**spec.hooks, name: [*spec.hooks.get(name, []), hook]}
    if edits.intel_rdt is not None:
        spec.linux.intel_rdt = edits.intel_rdt
    if edits.additional_gids:
        groups = spec.process.user.additional_gids
        present = [] if isinstance(groups, msgspec.UnsetType) else groups
        spec.process.user.additional_gids = list(dict.fromkeys([*present, *edits.additional_gids]))


def _add_environment(process: Process, variables: Iterable[str]) -> None:
    by_name = {variable.partition("=")[0]: variable for variable in process.env}
    by_name.update((variable.partition("=")[0], variable) for variable in variables)
    process.env = list(by_name.values())


def _add_devices(spec: Spec, devices: Iterable[tuple[Device, str]]) -> None:
    """A node without an owner belongs to the container's user, who is to use it."""
    owner = spec.process.user
    resources = spec.linux.resources = spec.linux.resources or LinuxResources()
    for device, access in devices:
        owned = msgspec.structs.replace(
            device, uid=(owner.uid or None) if device.uid is None else device.uid,
            gid=(owner.gid or None) if device.gid is None else device.gid,
        )  # fmt: skip
        spec.linux.devices = [other for other in spec.linux.devices if other.path != device.path] + [owned]
        if device.type in ("b", "c") and access:
            rule = DeviceRule(allow=True, type=device.type, major=device.major, minor=device.minor, access=access)
            resources.devices = [*resources.devices, rule]
