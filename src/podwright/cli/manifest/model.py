"""What a manifest says, checked and with Kubernetes' defaults filled in: plain frozen data, and no CRI in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ConfigMaps = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class FieldRef:
    """A value taken from the pod itself, by the path of a field."""

    path: str


@dataclass(frozen=True)
class ConfigMapKey:
    """A value taken from a ConfigMap."""

    config_map: str
    key: str
    optional: bool = False


@dataclass(frozen=True)
class EnvVar:
    """One variable; `where` is its path in the manifest, for errors that show up late."""

    name: str
    value: str | FieldRef | ConfigMapKey
    where: str = ""


@dataclass(frozen=True)
class EnvFrom:
    """All of a ConfigMap as variables."""

    config_map: str
    prefix: str = ""
    optional: bool = False
    where: str = ""


@dataclass(frozen=True)
class Port:
    """`host_port` 0: not published. `protocol`: TCP, UDP or SCTP."""

    container_port: int
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True)
class VolumeMount:
    """Where a volume shows up in a container. `propagation`: None, HostToContainer or Bidirectional."""

    volume: str
    path: str
    read_only: bool = False
    recursive_read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""
    propagation: str = "None"
    where: str = ""


@dataclass(frozen=True)
class EmptyDir:
    """A directory that lives as long as the pod; in memory if `memory`, then of at most `size_limit_bytes`."""

    memory: bool = False
    size_limit_bytes: int = 0


@dataclass(frozen=True)
class HostPath:
    """A path of the host. `type` as in the API: empty (no check), Directory, DirectoryOrCreate, File, …"""

    path: str
    type: str = ""


@dataclass(frozen=True)
class ConfigMapItem:
    """One file of a ConfigMap volume. `mode` None: the volume's default mode."""

    key: str
    path: str
    mode: int | None = None


@dataclass(frozen=True)
class ConfigMapVolume:
    """A ConfigMap as files. No `items`: all of its keys."""

    config_map: str
    items: tuple[ConfigMapItem, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


@dataclass(frozen=True)
class Volume:
    """A named source that containers mount."""

    name: str
    source: EmptyDir | HostPath | ConfigMapVolume
    where: str = ""


@dataclass(frozen=True)
class Profile:
    """A seccomp or AppArmor profile. `type`: RuntimeDefault, Unconfined or Localhost with a `name`."""

    type: str
    name: str = ""


@dataclass(frozen=True)
class SELinuxLabel:
    """The four parts of a label; empty ones are left to the runtime."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@dataclass(frozen=True)
class Security:
    """A security context, of a pod or of a container. None: not said here."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    selinux: SELinuxLabel | None = None
    seccomp: Profile | None = None
    apparmor: Profile | None = None
    # A pod's only:
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str = "Merge"
    sysctls: Mapping[str, str] = field(default_factory=dict)
    # A container's only:
    privileged: bool = False
    read_only_root: bool = False
    allow_privilege_escalation: bool | None = None
    proc_mount: str = "Default"
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Amounts:
    """Requests or limits of a container; None: not said. Huge pages by page size as written (`2Mi`), in bytes."""

    cpu_milli: int | None = None
    memory_bytes: int | None = None
    hugepages: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """What a container wants and what it may use. A request that isn't said is its limit."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


@dataclass(frozen=True)
class Container:
    """A container or an init container. `sidecar`: an init container that is left running."""

    name: str
    image: str
    pull_policy: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env_from: tuple[EnvFrom, ...] = ()
    env: tuple[EnvVar, ...] = ()
    ports: tuple[Port, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    resources: Resources = Resources()
    security: Security = Security()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    termination_message_path: str = "/dev/termination-log"
    sidecar: bool = False
    where: str = ""


@dataclass(frozen=True)
class Dns:
    """`policy` as in the API; the rest is added to what it gives, and all there is with the policy None."""

    policy: str = "ClusterFirst"
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostAlias:
    """A line of /etc/hosts."""

    ip: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Pod:
    """A pod. `uid` is empty when the manifest has none."""

    name: str
    namespace: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_process_namespace: bool = False
    dns: Dns = Dns()
    host_aliases: tuple[HostAlias, ...] = ()
    restart_policy: str = "Always"
    grace_s: int = 30
    runtime_class: str = ""
    security: Security = Security()

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Init containers first."""
        return self.init_containers + self.containers

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Manifest:
    """All that a file holds: pods, the ConfigMaps they refer to by (namespace, name), and warnings for the user."""

    pods: tuple[Pod, ...]
    config_maps: Mapping[tuple[str, str], Mapping[str, bytes]]
    warnings: tuple[str, ...]

    def config_maps_of(self, namespace: str) -> ConfigMaps:
        """The ConfigMaps of one namespace, by name."""
        return {name: data for (where, name), data in self.config_maps.items() if where == namespace}
