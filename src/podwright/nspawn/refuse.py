"""What this runtime can't do, by the names that config.json has for it. Pure."""

from __future__ import annotations

from typing import Any

from podwright.base.errors import Unimplemented
from podwright.oci.runtime_spec import StoredSpec

# What systemd-nspawn always makes anew, or takes over from whoever starts it.
_NAMESPACES = frozenset({"mount", "pid", "network", "ipc", "uts", "cgroup"})
_JOINED = frozenset({"network", "ipc", "uts", "pid"})
_LINUX = {
    "uidMappings": "user namespaces are",
    "gidMappings": "user namespaces are",
    "timeOffsets": "time namespaces are",
    "intelRdt": "is",
    "mountLabel": "SELinux is",
    "personality": "is",
    "netDevices": "is",
    "memoryPolicy": "is",
}
_RESOURCES = ("blockIO", "network", "rdma")
_PROCESS = {"selinuxLabel": "SELinux is", "scheduler": "is", "ioPriority": "is", "execCPUAffinity": "is"}


def check(spec: StoredSpec, document: dict[str, Any]) -> None:
    """`document` is the configuration as it came. Raises Unimplemented with one member's name."""
    _members("linux", document.get("linux") or {}, _LINUX)
    _members("process", document["process"], _PROCESS)
    for name in _RESOURCES:
        if _asked((document.get("linux") or {}).get("resources", {}).get(name)):
            raise Unimplemented(f"linux.resources.{name} is not supported by podwright-nspawn")
    if document.get("domainname"):
        raise Unimplemented("domainname is not supported by podwright-nspawn")
    _namespaces(spec)
    _mounts(spec)


def _members(where: str, members: dict[str, Any], refused: dict[str, str]) -> None:
    for name, words in refused.items():
        if _asked(members.get(name)):
            raise Unimplemented(f"{where}.{name}: {words} not supported by podwright-nspawn")


def _asked(value: Any) -> bool:
    """Whether a member says something: weights of block I/O come as objects of nothing."""
    if isinstance(value, dict):
        return any(_asked(member) for member in value.values())
    return bool(value)


def _namespaces(spec: StoredSpec) -> None:
    for namespace in spec.linux.namespaces:
        if namespace.type not in _NAMESPACES:
            raise Unimplemented(f"linux.namespaces: {namespace.type} namespaces are not supported by podwright-nspawn")
        if namespace.path and namespace.type not in _JOINED:
            raise Unimplemented(
                f"linux.namespaces: podwright-nspawn can't join the {namespace.type} namespace {namespace.path}: "
                "systemd-nspawn makes a new one"
            )
    if not any(namespace.type == "mount" for namespace in spec.linux.namespaces):
        raise Unimplemented("linux.namespaces: podwright-nspawn has no container without a mount namespace of its own")


def _mounts(spec: StoredSpec) -> None:
    for mount in spec.mounts:
        mapped = mount.uid_mappings or mount.gid_mappings or {"idmap", "ridmap"} & set(mount.options)
        if mapped:
            raise Unimplemented(f"mounts: {mount.destination}: mapped ids are not supported by podwright-nspawn")
        if "tmpcopyup" in mount.options:
            raise Unimplemented(f"mounts: {mount.destination}: tmpcopyup is not supported by podwright-nspawn")
