"""What a container's specification is made from, besides the request: plain facts that others have found out.

`container/create` fills these; the builders read them and touch nothing. What has to be looked up on the host for
one request (mount sources, devices, a seccomp file) is a `RequestFacts`, made by `inspect.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from podwright.criapi import api_pb2 as pb
from podwright.device.edits import Edits
from podwright.linux.idmap import IdMaps
from podwright.oci.runtime_spec import Device


@dataclass(frozen=True)
class SandboxFacts:
    """The pod. `namespaces`: the path of each namespace it owns, by OCI type (network, ipc, uts, user, pid).

    A type that is missing there is the host's, save pid, which is each container's own unless it asks for POD. The path
    '' of pid: the one that containers have when no other is asked for, where the pod has a kernel of its own.
    `hosts`, `resolv_conf`, `hostname_file`, `shm` are host paths to mount; None: the image's own file stays.
    `id_maps`: of its user namespace, if it owns one. `selinux_level`: that its processes and files share.
    `overhead`, `resources`: what it costs beside its containers, and what these may use together; None: not known.
    """

    id: str
    name: str
    namespace: str
    uid: str
    handler: str = ""
    cgroup_parent: str = ""
    hostname: str = ""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    hosts: Path | None = None
    resolv_conf: Path | None = None
    hostname_file: Path | None = None
    shm: Path | None = None
    log_directory: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    privileged: bool = False
    id_maps: IdMaps | None = None
    selinux_level: str = ""
    overhead: pb.LinuxContainerResources | None = None
    resources: pb.LinuxContainerResources | None = None

    @property
    def userns(self) -> Path | None:
        """Where the pod's user namespace is pinned; None for a pod in the host's."""
        return Path(self.namespaces["user"]) if "user" in self.namespaces else None

    @property
    def own_kernel(self) -> bool:
        return self.namespaces.get("pid") == ""

    @property
    def host_network(self) -> bool:
        return "network" not in self.namespaces


@dataclass(frozen=True)
class ImageFacts:
    """What the image's configuration says. `name` is what the user called it, for annotations."""

    id: str = ""
    name: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""


@dataclass(frozen=True)
class HostFacts:
    """The machine, the daemon and the handler: found out once.

    `capabilities`: those the daemon can hand on and the runtime knows. `oom_score_adj_min`: the least it may set (its
    own, without CAP_SYS_RESOURCE). `unified_cgroups`: cgroup v2 alone. `recursive_read_only`: the runtime knows `rro`
    mounts.
    `compiled_seccomp`: the runtime takes ready-made filters. `hostname`: what containers on the host's network see.
    `allowed_annotations`: prefixes of reserved annotations that the handler lets through.
    `seccomp_profile`: the file that is its RuntimeDefault; '': ours.
    `privileged_devices`: privileged containers get all of the host's. `device_ownership`: the security context's user
    and group own the nodes. `selinux_optional`: labels that the kernel knows nothing of are left out, not refused.
    `absent_sources_to_reject`: host paths that are not made when a mount of them is missing.
    `hugepage_limits`, `swap_limits`: whether the kernel can limit them. `hidden_paths`: the runtime has masked and
    read-only paths.
    """

    capabilities: frozenset[str]
    oom_score_adj_min: int = -1000
    unified_cgroups: bool = False
    recursive_read_only: bool = False
    compiled_seccomp: bool = False
    hostname: str = ""
    allowed_annotations: tuple[str, ...] = ()
    seccomp_profile: str = ""
    privileged_devices: bool = True
    device_ownership: bool = False
    absent_sources_to_reject: tuple[str, ...] = ()
    selinux_optional: bool = False
    hugepage_limits: bool = True
    swap_limits: bool = True
    hidden_paths: bool = True


@dataclass(frozen=True)
class MountSource:
    """A mount's host path, symlinks resolved. `shared`, `slave`: the propagation of the mount it lies on, which hangs
    at `mount_point`.

    `procfs`: it is a proc file system's root. `idmapped`: where the path is mounted with mapped owners, for the
    runtime to take it from there.
    """

    path: Path
    exists: bool = True
    is_directory: bool = True
    shared: bool = False
    slave: bool = False
    mount_point: str = "/"
    procfs: bool = False
    idmapped: Path | None = None


@dataclass(frozen=True)
class RequestFacts:
    """What `inspect.py` found on the host for one request.

    `sources`: by destination of the request's mounts. `devices`: nodes to make, with the access each is given.
    `edits`: what CDI devices change.
    `seccomp`: the encoded profile where the request names a file. `seccomp_filter`: the profile compiled, '' where
    it isn't. `all_abis`: whether the default profile names the machine's other ABIs.
    """

    sources: Mapping[str, MountSource] = field(default_factory=dict)
    devices: tuple[tuple[Device, str], ...] = ()
    edits: Edits = field(default_factory=Edits)
    seccomp: msgspec.Raw | None = None
    seccomp_filter: str = ""
    all_abis: bool = True
