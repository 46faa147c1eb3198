"""Names of cgroups: the kubelet's two syntaxes, the OCI runtime's, the kernel's. Pure.

systemd writes the hierarchy into a slice's name: `a-b-c.slice` is /a.slice/a-b.slice/a-b-c.slice, systemd.slice(5).
A '-' inside one level is spelled '_', as the kubelet does for pod uids.
"""

from __future__ import annotations

import re

from podwright.base.errors import InvalidArgument

SCOPE_PREFIX = "podwright"
_SLICE = ".slice"
_LEVEL = re.compile(r"[A-Za-z0-9_:.@\\]+\Z")  # systemd.unit(5), without the separator
_NAME_LIMIT = 255


def is_slice(parent: str) -> bool:
    """Whether a parent is in systemd's syntax."""
    return parent.endswith(_SLICE) and "/" not in parent


def check_path(path: str) -> str:
    """A cgroupfs path, absolute and normal. Raises InvalidArgument for one that could leave its hierarchy."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for part in parts:
        if part == ".." or len(part.encode()) > _NAME_LIMIT or not part.isprintable():
            raise InvalidArgument(f"cgroup_parent {path!r}: {part!r} can't be a cgroup's name")
    if not parts:
        raise InvalidArgument(f"cgroup_parent {path!r}: the root cgroup is not for pods")
    return "/" + "/".join(parts)


def expand_slice(name: str) -> str:
    """Where the kernel has a slice: `a-b.slice` → `/a.slice/a-b.slice`. Raises InvalidArgument for no slice's name."""
    stem = name.removesuffix(_SLICE)
    levels = stem.split("-")
    if not is_slice(name) or not all(_LEVEL.match(level) for level in levels) or len(name) > _NAME_LIMIT:
        raise InvalidArgument(f"cgroup_parent {name!r} is no systemd slice's name (a-b-c.slice)")
    return "".join("/" + "-".join(levels[: count + 1]) + _SLICE for count in range(len(levels)))


def slice_of(path: str) -> str:
    """The slice for a cgroupfs path, by the kubelet's rule: `/kubepods/burstable/pod1-2` → `…-pod1_2.slice`.

    A path that was expanded from a slice comes back as that slice.
    """
    parts = check_path(path).strip("/").split("/")
    if all(part.endswith(_SLICE) for part in parts) and expand_slice(parts[-1]) == "/" + "/".join(parts):
        return parts[-1]
    return "-".join(part.replace("-", "_") for part in parts) + _SLICE


def kernel_path_of(cgroups_path: str) -> str:
    """Where the kernel has the cgroup of an OCI `linux.cgroupsPath`: a path, or SLICE:PREFIX:NAME. Raises
    InvalidArgument."""
    slice_name, *scope = cgroups_path.split(":")
    if len(scope) == 2:
        return f"{expand_slice(slice_name)}/{scope[0]}-{scope[1]}.scope"
    return check_path(cgroups_path)


def slice_below(parent: str, name: str) -> str:
    """A slice inside the slice `parent`: its path is in its name."""
    return f"{parent.removesuffix(_SLICE)}-{name.replace('-', '_')}{_SLICE}"


def scope_of(container_id: str) -> str:
    """The unit that an OCI runtime makes of `SLICE:podwright:ID`."""
    return f"{SCOPE_PREFIX}-{container_id}.scope"
