"""Devices: the nodes that are made in a container's /dev, and the cgroup's rules for them.

What lies behind a host path is looked up by `inspect.py`; here the findings become nodes and rules. Every
container gets the few devices of the OCI specification's "Default Devices" from its runtime.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Device, DeviceRule


def checked_permissions(permissions: str, field: str) -> str:
    """A non-empty subset of rwm, in that order; empty means all, as the kubelet's default does."""
    if not set(permissions) <= set("rwm"):
        raise InvalidArgument(f"permissions {permissions!r} are not made of r, w and m", field=field)
    return "".join(letter for letter in "rwm" if letter in permissions) or "rwm"


def device_nodes(devices: Iterable[tuple[Device, str]], owner: pb.LinuxContainerSecurityContext | None) -> list[Device]:
    """The nodes to make, one a path: what is asked for goes before what a privileged container gets anyway.

    `owner`: they belong to its user and group, where it names others than root; None: to whom they belong on the host.
    """
    nodes = {device.path: device for device, _access in devices}
    if owner is None:
        return list(nodes.values())
    uid, gid = owner.run_as_user.value, owner.run_as_group.value
    return [msgspec.structs.replace(device, uid=uid or device.uid, gid=gid or device.gid) for device in nodes.values()]


def device_rules(devices: Iterable[tuple[Device, str]], *, everything: bool) -> list[DeviceRule]:
    """The cgroup's list: everything, or nothing but the defaults and those given.

    A runtime adds the default devices and the terminals by itself (config-linux.md, "Default Devices").
    """
    if everything:
        return [DeviceRule(allow=True, access="rwm")]
    rules = [DeviceRule(allow=False, access="rwm")]
    rules += [
        DeviceRule(allow=True, type=device.type, major=device.major, minor=device.minor, access=access)
        for device, access in devices
        if device.type in ("c", "b")
    ]
    return rules
