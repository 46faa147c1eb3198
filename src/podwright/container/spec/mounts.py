"""What is mounted in a container, in which order and with which options.

Three layers: what every container has (proc, dev, sysfs, cgroup …), the pod's files (shm, resolv.conf, hosts,
hostname), and the request's mounts, which win over both at the same path. Parents come before children, so that
nothing is hidden by accident. mount(8), mount_namespaces(7).
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping

from podwright.base.errors import FailedPrecondition, InvalidArgument, PrefixedError
from podwright.container.spec.facts import HostFacts, MountSource, SandboxFacts
from podwright.container.spec.userns import mount_id_maps
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Mount

_GENERIC = ["nosuid", "noexec", "nodev"]
_PROPAGATION = {
    pb.PROPAGATION_PRIVATE: "rprivate",
    pb.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    pb.PROPAGATION_BIDIRECTIONAL: "rshared",
}
_LXCFS_FILES = frozenset(
    f"/proc/{name}" for name in ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
    "net/dev", "sys/kernel/ns_last_pid")
)  # fmt: skip
# Options of mount_options that say how a file system may be used; anything else could undo what we decide.
_ALLOWED_OPTIONS = frozenset(
    {"noexec", "exec", "nodev", "dev", "nosuid", "suid", "noatime", "nodiratime", "relatime", "nosymfollow"}
)


def plan_mounts(
    config: pb.ContainerConfig, sandbox: SandboxFacts, host: HostFacts, sources: Mapping[str, MountSource]
) -> list[Mount]:
    """All mounts in order. `sources` has each request mount's host side, by destination.

    Raises InvalidArgument for a mount that can't be, FailedPrecondition for one that can't be in this pod, and
    PrefixedError RROUnsupported.
    """
    for index, mount in enumerate(config.mounts):
        if mount.propagation == pb.PROPAGATION_BIDIRECTIONAL and sandbox.own_kernel:
            raise FailedPrecondition(
                f"mounts[{index}].propagation: pod {sandbox.name} has a kernel of its own: mounts made in it can't "
                "reach the host (Bidirectional)"
            )
    security = config.linux.security_context
    requested = [_requested(mount, index, host, sources) for index, mount in enumerate(config.mounts)]
    asked = {mount.destination: mount for mount in requested}  # of two at one place the later one is seen
    system = [m for m in _system(sandbox, host, privileged=security.privileged) if not _replaced(m, asked)]
    pod = [m for m in _pod_files(sandbox, read_only=security.readonly_rootfs) if m.destination not in asked]
    return in_order([*system, *pod, *asked.values()])


def in_order(mounts: Iterable[Mount]) -> list[Mount]:
    """Parents before children, else as they came."""
    return sorted(mounts, key=lambda mount: mount.destination.count("/"))


def _replaced(system: Mount, asked: Collection[str]) -> bool:
    """A /dev of the request's has its own terminals and queues."""
    return system.destination in asked or ("/dev" in asked and system.destination.startswith("/dev/"))


def rootfs_propagation(mounts: Iterable[pb.Mount]) -> str:
    """The propagation the container's root needs: the runtime makes it private, or slave, or shared for volumes."""
    modes = {mount.propagation for mount in mounts}
    if pb.PROPAGATION_BIDIRECTIONAL in modes:
        return "rshared"
    return "rslave" if pb.PROPAGATION_HOST_TO_CONTAINER in modes else ""


def _system(sandbox: SandboxFacts, host: HostFacts, *, privileged: bool) -> Iterator[Mount]:
    """OCI runtime specification, "Default Filesystems"; sysfs and cgroup are read-only unless privileged."""
    yield Mount(destination="/proc", type="proc", source="proc", options=_GENERIC)
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    yield Mount(destination="/dev", type="tmpfs", source="tmpfs", options=dev)
    yield Mount(
        destination="/dev/pts", type="devpts", source="devpts",
        options=["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    )  # fmt: skip
    yield Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=_GENERIC)
    access = "rw" if privileged else "ro"
    if "user" in sandbox.namespaces and sandbox.host_network:
        # sysfs can't be mounted by a user namespace that doesn't own the network namespace: the host's it is, with all
        # that is mounted in it.
        whole = "rro" if host.recursive_read_only and not privileged else access
        yield Mount(destination="/sys", type="bind", source="/sys", options=["rbind", *_GENERIC, whole])
    else:
        yield Mount(destination="/sys", type="sysfs", source="sysfs", options=[*_GENERIC, access])
    yield Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=[*_GENERIC, "relatime", access])


def _pod_files(sandbox: SandboxFacts, *, read_only: bool) -> Iterator[Mount]:
    """The pod's /dev/shm and its files in /etc; the files are writable where the rootfs is."""
    access = "ro" if read_only else "rw"
    files = (
        ("/etc/hosts", sandbox.hosts),
        ("/etc/resolv.conf", sandbox.resolv_conf),
        ("/etc/hostname", sandbox.hostname_file),
    )
    for destination, source in files:
        if source is not None:
            options = ["rbind", "rprivate", access]
            yield Mount(destination=destination, type="bind", source=str(source), options=options)
    if sandbox.shm is not None:
        options = ["rbind", "rprivate", "rw", *_GENERIC]
        yield Mount(destination="/dev/shm", type="bind", source=str(sandbox.shm), options=options)


def _requested(mount: pb.Mount, index: int, host: HostFacts, sources: Mapping[str, MountSource]) -> Mount:
    field = f"mounts[{index}]"
    destination = mount_destination(mount.container_path, field)
    source = sources[destination]
    access = _access(mount, host, field)
    _check_propagation(mount, source, field)
    mount_id_maps(mount, field)
    options = ["rbind", _PROPAGATION[mount.propagation], access, *_extra_options(mount, field)]
    return Mount(
        destination=destination, type="bind", source=str(source.idmapped or source.path), options=options
    )  # fmt: skip


def mount_destination(path: str, field: str) -> str:
    """An absolute, plain path: a runtime that resolves it sees the same words that we sorted by."""
    if not path or "\0" in path:
        raise InvalidArgument("container_path is missing or holds a NUL character", field=field)
    plain = posixpath.normpath("/" + path.lstrip("/"))
    if plain == "/":
        raise InvalidArgument("container_path can't be the root directory", field=field)
    return plain


def _access(mount: pb.Mount, host: HostFacts, field: str) -> str:
    """rw, ro or rro. CRI: recursive_read_only needs readonly and private propagation, and a runtime that can."""
    if not mount.recursive_read_only:
        return "ro" if mount.readonly else "rw"
    if not mount.readonly:
        raise InvalidArgument("recursive_read_only needs readonly as well", field=field)
    if mount.propagation != pb.PROPAGATION_PRIVATE:
        raise InvalidArgument("recursive_read_only needs private propagation", field=field)
    if not host.recursive_read_only:
        raise PrefixedError("RROUnsupported", f"{field}: this handler's runtime can't mount recursively read-only")
    return "rro"


def check_place(destination: str, source: MountSource, container_path: str) -> None:
    """Nothing may hide what a runtime protects below /proc, by whatever links a path leads there.

    What stands in for a file of /proc decides whether an AppArmor profile or a read-only path holds
    (CVE-2019-16884, CVE-2025-52881). The files that LXCFS replaces are harmless; runc has the same list.
    """
    words = f"container_path {container_path!r}" + (
        f" leads to {destination} and" if destination != container_path else ""
    )
    if destination == "/":
        raise InvalidArgument(f"{words} can't be the root directory", field="mounts")
    if destination == "/proc" and source.procfs:
        return
    if destination == "/proc" or (destination.startswith("/proc/") and destination not in _LXCFS_FILES):
        raise InvalidArgument(f"{words} can't be mounted on: it would hide the kernel's files", field="mounts")


def _check_propagation(mount: pb.Mount, source: MountSource, field: str) -> None:
    """mount_namespaces(7): what isn't shared on the host can't be propagated to or from a container."""
    hint = f"make the mount that holds {source.path} shared (mount --make-rshared {source.mount_point})"
    if mount.propagation == pb.PROPAGATION_BIDIRECTIONAL and not source.shared:
        raise InvalidArgument(f"bidirectional propagation needs a shared mount: {hint}", field=field)
    if mount.propagation == pb.PROPAGATION_HOST_TO_CONTAINER and not (source.shared or source.slave):
        raise InvalidArgument(f"host-to-container propagation needs a shared or slave mount: {hint}", field=field)
    if mount.propagation not in _PROPAGATION:
        raise InvalidArgument(f"unknown propagation {mount.propagation}", field=field)


def _extra_options(mount: pb.Mount, field: str) -> list[str]:
    for option in mount.mount_options:
        if option not in _ALLOWED_OPTIONS:
            raise InvalidArgument(
                f"mount option {option!r} is not one of {', '.join(sorted(_ALLOWED_OPTIONS))}", field=field
            )
    return list(mount.mount_options)
