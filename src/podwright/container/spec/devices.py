"""Devices: the nodes that are made in a container's /dev, and the cgroup's rules for them.

What lies behind a host path is looked up by `inspect.py`; here the findings become nodes and rules. Every
container gets the few devices of the OCI specification's "Default Devices" from its runtime.
"""

from __future__ import annotations

from collections.abc import Iterable

from podwright.base.errors import InvalidArgument
from podwright.oci.runtime_spec import Device, DeviceRule


def checked_permissions(permissions: str, field: str) -> str:
    """A non-empty subset of rwm, in that order; empty means all, as the kubelet's default does."""
    if not set(permissions) <= set("rwm"):
        raise InvalidArgument(f"permissions {permissions!r} are not made of r, w and m", field=field)
    return "".join(letter for letter in "rwm" if letter in permissions) or "rwm"


def device_rules(devices: Iterable[tuple[Device, str]], *, privileged: bool) -> list[DeviceRule]:
    """The cgroup's list: everything for the privileged, else nothing but nodes by mknod, defaults, and those given.

    A runtime adds the default devices and the terminals by itself (config-linux.md, "Default Devices").
    """
    if privileged:
        return [DeviceRule(allow=True, access="rwm")]
    rules = [DeviceRule(allow=False, access="rwm")]
    rules += [
        DeviceRule(allow=True, type=device.type, major=device.major, minor=device.minor, access=access)
        for device, access in devices
        if device.type in ("c", "b")
    ]
    return rules
