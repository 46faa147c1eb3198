"""A CDI specification: what its file may say, as typed data. Pure; the reader of files is `cdi.py`.

https://github.com/cncf-tags/container-device-interface, SPEC.md, versions 0.3.0 to 1.1.0 without what 1.1.0 added
(netDevices, and new members of intelRdt), which runtimes of the OCI specification 1.0 would ignore without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import yaml

from podwright.base.errors import InvalidArgument
from podwright.base.strict_yaml import StrictLoader

VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
HOOKS = frozenset({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})
NO_PERMISSIONS = "none"

_KIND_PART = re.compile(r"[A-Za-z](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?\Z")
_CLOS_ID_LIMIT = 4096


class _Member(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Unknown members are errors: what isn't applied must not look as if it were."""


class DeviceNode(_Member):
    """A node to make in the container. What is left out is taken from `host_path`, by default `path`."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class CdiMount(_Member):
    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


class CdiHook(_Member):
    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class CdiIntelRdt(_Member, rename={
    "clos_id": "closID", "l3_cache_schema": "l3CacheSchema", "mem_bw_schema": "memBwSchema",
    "enable_cmt": "enableCMT", "enable_mbm": "enableMBM",
}):  # fmt: skip
    """As in the OCI specification 1.0."""

    clos_id: str = ""
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_cmt: bool = False
    enable_mbm: bool = False


class ContainerEdits(_Member):
    """What a device changes of a container's OCI specification."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[CdiMount, ...] = ()
    hooks: tuple[CdiHook, ...] = ()
    intel_rdt: CdiIntelRdt | None = None
    additional_gids: tuple[int, ...] = ()


class CdiDevice(_Member):
    name: str
    container_edits: ContainerEdits
    annotations: dict[str, str] = {}


class CdiSpec(_Member, rename={"version": "cdiVersion", "container_edits": "containerEdits"}):
    """One file. `container_edits` are made once for a container that gets any of the devices."""

    version: str
    kind: str
    devices: tuple[CdiDevice, ...]
    container_edits: ContainerEdits = msgspec.field(default_factory=ContainerEdits)
    annotations: dict[str, str] = {}

    def all_edits(self) -> Iterator[ContainerEdits]:
        yield self.container_edits
        yield from (device.container_edits for device in self.devices)


def parse_spec(data: bytes) -> CdiSpec:
    """A specification from JSON or YAML, of which JSON is a part. Raises InvalidArgument."""
    try:
        spec = msgspec.convert(_without_nulls(yaml.load(data, StrictLoader)), CdiSpec)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"not valid YAML or JSON: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InvalidArgument("nested too deeply") from error
    except msgspec.ValidationError as error:
        raise InvalidArgument(str(error)) from error
    _check(spec)
    return spec


def parse_device_name(text: str) -> tuple[str, str]:
    """The kind and the name of a fully qualified device, VENDOR/CLASS=NAME. Raises InvalidArgument."""
    kind, equals, name = text.partition("=")
    if not equals or not _is_kind(kind) or not _DEVICE_NAME.match(name):
        raise InvalidArgument(f"{text!r} is not the full name of a CDI device, like vendor.com/class=name")
    return kind, name


def _without_nulls(value: Any) -> Any:
    """Programs in Go write null for an empty list."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _is_kind(kind: str) -> bool:
    vendor, slash, class_ = kind.partition("/")
    return bool(slash and _KIND_PART.match(vendor) and _KIND_PART.match(class_))


def _check(spec: CdiSpec) -> None:
    if not _is_kind(spec.kind):
        raise InvalidArgument(f"{spec.kind!r} is not a kind, like vendor.com/class", field="kind")
    _check_version(spec)
    _check_edits(spec.container_edits, "containerEdits")
    if not spec.devices:
        raise InvalidArgument("there is no device in it", field="devices")
    seen = set[str]()
    for at, device in enumerate(spec.devices):
        field = f"devices[{at}]"
        if not _DEVICE_NAME.match(device.name):
            raise InvalidArgument(f"{device.name!r} is not a device's name", field=f"{field}.name")
        if device.name in seen:
            raise InvalidArgument(f"{device.name!r} is in the file twice", field=f"{field}.name")
        seen.add(device.name)
        if device.container_edits == ContainerEdits():
            raise InvalidArgument("a device that edits nothing", field=f"{field}.containerEdits")
        _check_edits(device.container_edits, f"{field}.containerEdits")


def _check_version(spec: CdiSpec) -> None:
    version = spec.version.removeprefix("v")
    if version not in VERSIONS:
        raise InvalidArgument(f"version {spec.version!r} is none of {', '.join(VERSIONS)}", field="cdiVersion")
    for needed, uses, what in _SINCE:
        if VERSIONS.index(version) < VERSIONS.index(needed) and uses(spec):
            raise InvalidArgument(f"{what} need version {needed}, the file says {spec.version}", field="cdiVersion")


_SINCE: tuple[tuple[str, Callable[[CdiSpec], bool], str], ...] = (
    ("0.7.0", lambda s: any(e.intel_rdt is not None for e in s.all_edits()), "intelRdt"),
    ("0.7.0", lambda s: any(e.additional_gids for e in s.all_edits()), "additionalGids"),
    ("0.6.0", lambda s: bool(s.annotations) or any(d.annotations for d in s.devices), "annotations"),
    ("0.6.0", lambda s: "." in s.kind.partition("/")[2], "dots in a class"),
    ("0.5.0", lambda s: any(d.name[:1].isdigit() for d in s.devices), "device names that begin with a digit"),
    ("0.5.0", lambda s: any(n.host_path for e in s.all_edits() for n in e.device_nodes), "host paths of device nodes"),
    ("0.4.0", lambda s: any(m.type for e in s.all_edits() for m in e.mounts), "types of mounts"),
)
"""What came with which version; SPEC.md, "Released versions"."""


def _check_edits(edits: ContainerEdits, field: str) -> None:
    _check_environment(edits.env, f"{field}.env")
    for at, node in enumerate(edits.device_nodes):
        _check_node(node, f"{field}.deviceNodes[{at}]")
    for at, mount in enumerate(edits.mounts):
        if not mount.host_path or not mount.container_path.startswith("/"):
            raise InvalidArgument("needs hostPath and an absolute containerPath", field=f"{field}.mounts[{at}]")
    for at, hook in enumerate(edits.hooks):
        _check_hook(hook, f"{field}.hooks[{at}]")
    if edits.intel_rdt is not None and not _is_clos_id(edits.intel_rdt.clos_id):
        raise InvalidArgument(f"{edits.intel_rdt.clos_id!r} is no file name", field=f"{field}.intelRdt.closID")
    if not all(0 <= gid < 2**32 for gid in edits.additional_gids):
        raise InvalidArgument("a group id is out of range", field=f"{field}.additionalGids")


def _check_environment(variables: tuple[str, ...], field: str) -> None:
    for variable in variables:
        if variable.find("=") < 1 or "\0" in variable:
            raise InvalidArgument(f"{variable!r} is not NAME=VALUE", field=field)


def _check_node(node: DeviceNode, field: str) -> None:
    if not node.path.startswith("/"):
        raise InvalidArgument(f"{node.path!r} must be an absolute path", field=f"{field}.path")
    if node.type not in ("", "b", "c", "u", "p"):
        raise InvalidArgument(f"{node.type!r} is none of b, c, u, p", field=f"{field}.type")
    if node.permissions != NO_PERMISSIONS and not set(node.permissions) <= set("rwm"):
        raise InvalidArgument(f"{node.permissions!r} is not made of r, w and m", field=f"{field}.permissions")


def _check_hook(hook: CdiHook, field: str) -> None:
    if hook.hook_name not in HOOKS:
        raise InvalidArgument(f"{hook.hook_name!r} is none of {', '.join(sorted(HOOKS))}", field=f"{field}.hookName")
    if not hook.path.startswith("/"):
        raise InvalidArgument(f"{hook.path!r} must be an absolute path", field=f"{field}.path")
    _check_environment(hook.env, f"{field}.env")


def _is_clos_id(name: str) -> bool:
    """A directory's name below /sys/fs/resctrl, or / for the root class."""
    return name == "/" or (len(name) < _CLOS_ID_LIMIT and name not in (".", "..") and not set(name) & set("/\n\0"))
