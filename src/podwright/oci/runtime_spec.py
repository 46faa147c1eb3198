"""The OCI runtime specification, 1.0.2, as typed JSON: what `config.json` and `process.json` hold.

Pure data: `container/spec` fills it, `runtime/` and `monitor/` hand it to a runtime. Members that are unset are
left out of the JSON, because runtimes tell "absent" from "empty". Names are the specification's, in snake case
(`rename="camel"`); https://github.com/opencontainers/runtime-spec, config.md and config-linux.md.
"""

from __future__ import annotations

from typing import Any

import msgspec

# crun before 1.9 refuses any version that has no "1.0" in it.
OCI_VERSION = "1.0.2"


class _Struct(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True):
    """Common options: camelCase names, nothing written for a member that has its default."""


class User(_Struct, omit_defaults=False):
    """process.user. uid and gid are always written: runc takes a missing one for 0, other runtimes complain."""

    uid: int = 0
    gid: int = 0
    umask: int | msgspec.UnsetType = msgspec.UNSET
    additional_gids: list[int] | msgspec.UnsetType = msgspec.UNSET


class Capabilities(_Struct):
    """process.capabilities. `inheritable` stays empty (CVE-2022-24769)."""

    bounding: list[str] = []
    effective: list[str] = []
    inheritable: list[str] = []
    permitted: list[str] = []
    ambient: list[str] = []


class Rlimit(_Struct):
    """process.rlimits[]; `type` is RLIMIT_NOFILE and the like."""

    type: str
    hard: int
    soft: int


class ConsoleSize(_Struct):
    """process.consoleSize, in characters."""

    height: int
    width: int


class Process(_Struct):
    """process: what runs. Also the whole content of the file that `runtime exec --process` reads.

    `io_priority` and `scheduler` are of specification 1.1: as JSON objects, for the plugins that set them.
    """

    args: list[str]
    cwd: str
    user: User
    env: list[str] = []
    terminal: bool = False
    console_size: ConsoleSize | None = None
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] = []
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""
    io_priority: dict[str, Any] = {}
    scheduler: dict[str, Any] = {}


class Root(_Struct):
    """root. `path` is absolute, or relative to the bundle."""

    path: str
    readonly: bool = False


class IdMapping(_Struct, rename={"container_id": "containerID", "host_id": "hostID"}, omit_defaults=False):
    """linux.uidMappings[], and those of mounts. The specification spells ID in capitals."""

    container_id: int
    host_id: int
    size: int


class Mount(_Struct):
    """mounts[]. Order matters: a runtime mounts them one after the other."""

    destination: str
    source: str = ""
    type: str = ""
    options: list[str] = []
    uid_mappings: list[IdMapping] = []
    gid_mappings: list[IdMapping] = []


class Namespace(_Struct):
    """linux.namespaces[]: without `path` a new one is made, with it that one is joined."""

    type: str
    path: str = ""


class Hook(_Struct):
    """hooks.*[]: a program that a runtime runs at a point of a container's life. `timeout` in seconds."""

    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class IntelRdt(_Struct, rename={
    "clos_id": "closID", "l3_cache_schema": "l3CacheSchema", "mem_bw_schema": "memBwSchema",
    "enable_cmt": "enableCMT", "enable_mbm": "enableMBM",
}):  # fmt: skip
    """linux.intelRdt: the class of service of cache and memory bandwidth; kernel.org, x86/resctrl."""

    clos_id: str = ""
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_cmt: bool = False
    enable_mbm: bool = False
    schemata: list[str] = []
    enable_monitoring: bool = False


class Device(_Struct):
    """linux.devices[]: a node to make. `type` is c, b, u or p; `file_mode` is decimal permission bits."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class DeviceRule(_Struct):
    """linux.resources.devices[]: cgroup access; a missing major or minor means all. `access`: of r, w, m."""

    allow: bool
    access: str
    type: str = ""
    major: int | None = None
    minor: int | None = None


class Memory(
    _Struct,
    rename={"kernel_tcp": "kernelTCP", "disable_oom_killer": "disableOOMKiller", "use_hierarchy": "useHierarchy"},
):
    """linux.resources.memory, bytes. `swap` is memory plus swap; -1 is unlimited. From `kernel` on: cgroup v1."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    use_hierarchy: bool | None = None


class Cpu(_Struct):
    """linux.resources.cpu; quota and period in microseconds."""

    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""


class Pids(_Struct):
    """linux.resources.pids."""

    limit: int


class HugepageLimit(_Struct):
    """linux.resources.hugepageLimits[]; `page_size` like 2MB, 1GB."""

    page_size: str
    limit: int


class LinuxResources(_Struct):
    """linux.resources; also the input of `runtime update`. `unified` goes to cgroup v2 files verbatim."""

    devices: list[DeviceRule] = []
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    hugepage_limits: list[HugepageLimit] = []
    unified: dict[str, str] = {}


class Linux(_Struct):
    """linux. `seccomp` is JSON that is already encoded (see `security/seccomp`), or None for unconfined.

    `net_devices` and `memory_policy` are of specification 1.3: as JSON objects, for the plugins that set them.
    """

    namespaces: list[Namespace] = []
    uid_mappings: list[IdMapping] = []
    gid_mappings: list[IdMapping] = []
    devices: list[Device] = []
    cgroups_path: str = ""
    resources: LinuxResources | None = None
    seccomp: msgspec.Raw | None = None
    sysctl: dict[str, str] = {}
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""
    intel_rdt: IntelRdt | None = None
    rootfs_propagation: str = ""
    net_devices: dict[str, Any] = {}
    memory_policy: dict[str, Any] = {}


class Spec(_Struct):
    """config.json."""

    process: Process
    root: Root
    # A factory, because a plain default would be left out.
    oci_version: str = msgspec.field(default_factory=lambda: OCI_VERSION)
    hostname: str = ""
    mounts: list[Mount] = []
    annotations: dict[str, str] = {}
    hooks: dict[str, list[Hook]] = {}
    linux: Linux = msgspec.field(default_factory=Linux)


class _StoredLinux(Linux):
    seccomp: Any = None  # msgspec decodes no `Raw` beside None


class StoredSpec(Spec):
    """config.json as it is read back: the same, with the seccomp profile decoded."""

    linux: _StoredLinux = msgspec.field(default_factory=_StoredLinux)
