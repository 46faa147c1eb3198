"""A container's specification, as it crosses into a machine: what can't cross is refused by name, files get their way.

Pure but for what `open_mount` does. docs/vm.md, "What can't be had", is the list for people.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux.mounts import mounts_under
from podwright.linux.paths import make_directories_in_root, open_in_root
from podwright.oci.runtime_spec import Mount, Spec
from podwright.security.seccomp_filter import compiled

ROOT = "rootfs"
COMPILED_SECCOMP = "run.oci.seccomp_bpf_data"
_NEEDED = {"network": "network", "pid": "PIDs", "ipc": "IPC objects"}
_TWO_WAY = {"shared", "rshared"}
_SHM = "/dev/shm"
_PID_PATH = re.compile(r"/proc/(\d+)/ns/pid\Z")

OpenMount = Callable[..., int]


def check(spec: Spec, *, joins: bool = False) -> None:
    """Raises FailedPrecondition for what a virtual machine can't give, with the field.

    `joins`: the container comes to a machine that there is; without a PID namespace of its own it has that machine's
    first container's, the pod's.
    """
    present = {namespace.type for namespace in spec.linux.namespaces}
    for kind, words in _NEEDED.items():
        if kind not in present and not (joins and kind == "pid"):
            raise FailedPrecondition(
                f"linux.namespaces: there is no {kind} namespace: the host's {words} can't be had in a virtual machine"
            )
    if "user" in present or spec.linux.uid_mappings:
        raise FailedPrecondition("linux.namespaces: user namespaces are not offered in virtual machines")
    if spec.linux.rootfs_propagation in _TWO_WAY:
        raise FailedPrecondition("linux.rootfsPropagation: mounts of a virtual machine can't reach the host")
    for number, mount in enumerate(spec.mounts):
        field = f"mounts[{number}] ({mount.destination})"
        if _TWO_WAY & set(mount.options):
            raise FailedPrecondition(f"{field}: mounts of a virtual machine can't reach the host (Bidirectional)")
        if mount.uid_mappings or mount.gid_mappings:
            raise FailedPrecondition(f"{field}: idmapped mounts are not offered in virtual machines")
    if spec.linux.intel_rdt is not None or spec.linux.net_devices:
        raise FailedPrecondition("linux: devices and caches of the host (netDevices, intelRdt) can't be lent")


def is_bind(mount: Mount) -> bool:
    """Whether a mount shows files of the host; not that of the pod's shared memory, which is the machine's own."""
    if mount.destination.rstrip("/") == _SHM:
        return False
    return mount.type in ("bind", "none") or bool({"bind", "rbind"} & set(mount.options))


def open_trees(spec: Spec, bundle: Path, rootfs: Path, open_mount: OpenMount) -> dict[str, int]:
    """Descriptors of all that the container has of the host's files, by the names that `document` uses. The caller
    closes them."""
    trees: dict[str, int] = {}
    if spec.root.readonly:
        _make_mount_points(spec, bundle, rootfs)
    try:
        trees[ROOT] = open_mount(
            os.fspath(rootfs), recursive=True, read_only=spec.root.readonly, read_only_below=spec.root.readonly,
            follows_host=False, field="root.path",
        )  # fmt: skip
        for number, mount in enumerate(spec.mounts):
            if is_bind(mount):
                options = set(mount.options)
                trees[str(number)] = open_mount(
                    os.fspath(bundle / mount.source), recursive="bind" not in options or "rbind" in options,
                    read_only="ro" in options or "rro" in options, read_only_below="rro" in options,
                    follows_host=bool({"slave", "rslave"} & options), field=f"mounts[{number}].source",
                )  # fmt: skip
    except BaseException:
        for tree in trees.values():
            os.close(tree)
        raise
    return trees


def _make_mount_points(spec: Spec, bundle: Path, rootfs: Path) -> None:
    """What the image lacks, for the machine can't: its root is read-only. What fails here, the agent tells."""
    for mount in spec.mounts:
        try:
            _make_mount_point(
                rootfs, mount.destination, is_file=is_bind(mount) and not (bundle / mount.source).is_dir()
            )
        except OSError:
            continue


def _make_mount_point(rootfs: Path, destination: str, *, is_file: bool) -> None:
    try:
        os.close(open_in_root(rootfs, destination, os.O_PATH))
    except FileNotFoundError:
        if not is_file:
            make_directories_in_root(rootfs, destination)
            return
        parent, name = os.path.split(destination.rstrip("/"))
        path = f"{make_directories_in_root(rootfs, parent)}/{name}"
        os.close(open_in_root(rootfs, path, os.O_CREAT | os.O_WRONLY, 0o644, follow=False))


def document(
    container_id: str,
    configuration: Mapping[str, Any],
    spec: Spec,
    container_of: Callable[[int], str],
    *,
    joins: str = "",
) -> dict[str, Any]:
    """The attributes `rootfs` and `spec` of the agent's `create` request, from config.json as a whole.

    `container_of`: the container of this machine whose process on the host has a pid; '' for none. `joins`: the
    machine's first container, for any other.
    """
    mounts = []
    for number, (mount, found) in enumerate(zip(spec.mounts, configuration.get("mounts", []), strict=True)):
        if is_bind(mount):
            found = {**found, "source": f"share:{container_id}/{number}"}
            if _is_writable_below(mount):
                found["options"] = [option for option in mount.options if option != "ro"]
        elif mount.destination.rstrip("/") == _SHM and Path(mount.source).is_dir():
            found = {**found, "options": [*_plain(mount.options), f"size={_size_of(mount.source)}"]}
        mounts.append(found)
    linux = dict(configuration.get("linux", {}))
    annotations = dict(configuration.get("annotations", {}))
    if profile := linux.pop("seccomp", None):
        annotations[COMPILED_SECCOMP] = _compiled_seccomp(profile)
    has_pid = any(each.get("type") == "pid" for each in linux.get("namespaces", []))
    linux["namespaces"] = [
        *(_namespace(each, container_of) for each in linux.get("namespaces", []) if each.get("type") != "cgroup"),
        *([{"type": "pid", "path": f"container:{joins}"}] if joins and not has_pid else []),
        {"type": "cgroup"},  # whatever the host's hierarchy is: the machine's has been v2 from the beginning
    ]
    left_out = ("hooks", "root", "mounts", "linux", "annotations", "ociVersion")
    kept = {key: value for key, value in configuration.items() if key not in left_out}
    root = {"readonly": spec.root.readonly}
    there = {**kept, "annotations": annotations, "root": root, "mounts": mounts, "linux": linux}
    return {"rootfs": f"share:{container_id}/{ROOT}", "spec": there}


def _is_writable_below(mount: Mount) -> bool:
    """Read-only, but for what is mounted below it on the host. To the machine that is one file system, and read-only
    would hold for all of it: so it is left to the host, which enforces it in any case."""
    if "ro" not in mount.options or "rro" in mount.options:
        return False
    return "rbind" in mount.options and any(
        found.target != mount.source.rstrip("/") for found in mounts_under(Path(mount.source))
    )


def _compiled_seccomp(profile: dict[str, Any]) -> str:
    """The filter as a program: the machine has no compiler for it. Raises FailedPrecondition, InvalidArgument."""
    if profile.get("listenerPath"):
        raise FailedPrecondition("linux.seccomp.listenerPath: who decides would have to be in the virtual machine")
    program = compiled(msgspec.Raw(msgspec.json.encode(profile)))
    if not program:
        raise FailedPrecondition("linux.seccomp: profiles need libseccomp: install it (Debian: libseccomp2)")
    return program


def _plain(options: list[str]) -> list[str]:
    return [option for option in options if not option.startswith("size=")]


def _size_of(directory: str) -> int:
    """How much fits into the file system there."""
    found = os.statvfs(directory)
    return found.f_blocks * found.f_frsize


def _namespace(namespace: dict[str, Any], container_of: Callable[[int], str]) -> dict[str, Any]:
    """A PID namespace that is joined is that of a container of the same machine; other kinds are the machine's own."""
    if namespace.get("type") != "pid" or not namespace.get("path"):
        return namespace
    found = _PID_PATH.match(str(namespace["path"]))
    container = container_of(int(found[1])) if found else ""
    if not container:
        raise InvalidArgument(f"linux.namespaces: {namespace['path']} is no PID namespace of this virtual machine")
    return {"type": "pid", "path": f"container:{container}"}


def netns_of(spec: Spec) -> Path | None:
    """The network namespace whose links the machine is to have; None where the container has a new, empty one."""
    path = next((namespace.path for namespace in spec.linux.namespaces if namespace.type == "network"), "")
    return Path(path) if path else None
