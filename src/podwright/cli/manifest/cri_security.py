"""Security contexts of a manifest in the CRI's words, with the choices that the kubelet makes in between."""

from __future__ import annotations

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.model import Container, Pod, Profile, SELinuxLabel
from podwright.criapi import api_pb2 as pb

# Where the kubelet looks for profiles of type Localhost; manifests name them relative to it.
SECCOMP_ROOT = "/var/lib/kubelet/seccomp/"

# What a container must not see of /proc and /sys (procMount Default), the kubelet's lists.
MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_PROFILES = {
    "RuntimeDefault": pb.SecurityProfile.RuntimeDefault,
    "Unconfined": pb.SecurityProfile.Unconfined,
    "Localhost": pb.SecurityProfile.Localhost,
}
_POLICIES = {"Merge": pb.Merge, "Strict": pb.Strict}


def namespace_options(pod: Pod) -> pb.NamespaceOption:
    """Which namespaces are the host's, the pod's, or each container's own."""
    return pb.NamespaceOption(
        network=pb.NODE if pod.host_network else pb.POD,
        pid=pb.NODE if pod.host_pid else pb.POD if pod.share_process_namespace else pb.CONTAINER,
        ipc=pb.NODE if pod.host_ipc else pb.POD,
    )


def sandbox_security(pod: Pod) -> pb.LinuxSandboxSecurityContext:
    """The sandbox's own. Like the kubelet's, it always runs under the default seccomp profile."""
    security = pod.security
    made = pb.LinuxSandboxSecurityContext(
        namespace_options=namespace_options(pod),
        privileged=any(container.security.privileged for container in pod.all_containers),
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
        supplemental_groups=groups(pod),
        supplemental_groups_policy=_POLICIES[security.supplemental_groups_policy],
        selinux_options=selinux(security.selinux),
    )
    if security.run_as_user is not None:
        made.run_as_user.value = security.run_as_user
        if security.run_as_group is not None:
            made.run_as_group.value = security.run_as_group
    return made


def container_security(pod: Pod, container: Container, image: pb.Image) -> pb.LinuxContainerSecurityContext:
    """A container's, with what it doesn't say taken from the pod, and the user from the image."""
    own = container.security
    masked = not own.privileged and own.proc_mount == "Default"
    made = pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(add_capabilities=own.capabilities_add, drop_capabilities=own.capabilities_drop),
        privileged=own.privileged,
        namespace_options=namespace_options(pod),
        readonly_rootfs=own.read_only_root,
        no_new_privs=own.allow_privilege_escalation is False,
        supplemental_groups=groups(pod),
        supplemental_groups_policy=_POLICIES[pod.security.supplemental_groups_policy],
        masked_paths=MASKED_PATHS if masked else (),
        readonly_paths=READONLY_PATHS if masked else (),
        seccomp=seccomp(pod, container),
        apparmor=apparmor(own.apparmor or pod.security.apparmor),
        selinux_options=selinux(own.selinux or pod.security.selinux),
    )
    set_user(made, pod, container, image)
    return made


def set_user(made: pb.LinuxContainerSecurityContext, pod: Pod, container: Container, image: pb.Image) -> None:
    """Who the container runs as: its own word, the pod's, the image's, root. Raises if it must not be root but is."""
    user, group = effective(pod, container)
    if user is not None:
        made.run_as_user.value = user
    elif image.HasField("uid"):
        made.run_as_user.value = image.uid.value
    elif image.username:
        made.run_as_username = image.username
    else:
        made.run_as_user.value = 0
    if group is not None:
        made.run_as_group.value = group
    non_root = container.security.run_as_non_root
    if non_root is None:
        non_root = pod.security.run_as_non_root
    if non_root:
        refuse_root(made, container)


def effective(pod: Pod, container: Container) -> tuple[int | None, int | None]:
    """User and group that the manifest asks for."""
    own, outer = container.security, pod.security
    user = outer.run_as_user if own.run_as_user is None else own.run_as_user
    group = outer.run_as_group if own.run_as_group is None else own.run_as_group
    return user, group


def refuse_root(made: pb.LinuxContainerSecurityContext, container: Container) -> None:
    """runAsNonRoot: raise for root, and for a name of which only the image knows whether it is root."""
    where = f"{container.where}.securityContext.runAsNonRoot"
    if made.run_as_username:
        raise InvalidArgument(
            f"the image's user {made.run_as_username!r} is a name, which can't be told from root; set runAsUser",
            field=where,
        )
    if made.run_as_user.value == 0:
        raise InvalidArgument("the container would run as root; set runAsUser", field=where)


def groups(pod: Pod) -> list[int]:
    """Supplemental groups, fsGroup first, so that volumes can be written to."""
    first = [] if pod.security.fs_group is None else [pod.security.fs_group]
    return first + [group for group in pod.security.supplemental_groups if group not in first]


def seccomp(pod: Pod, container: Container) -> pb.SecurityProfile:
    """The container's profile, else the pod's, else the runtime's default; none in a privileged container."""
    profile = container.security.seccomp or pod.security.seccomp
    if profile is None:
        profile = Profile("Unconfined" if container.security.privileged else "RuntimeDefault")
    reference = SECCOMP_ROOT + profile.name if profile.name else ""
    return pb.SecurityProfile(profile_type=_PROFILES[profile.type], localhost_ref=reference)


def apparmor(profile: Profile | None) -> pb.SecurityProfile | None:
    """A profile by the name it was loaded under; None leaves the choice to the runtime."""
    if profile is None:
        return None
    return pb.SecurityProfile(profile_type=_PROFILES[profile.type], localhost_ref=profile.name)


def selinux(label: SELinuxLabel | None) -> pb.SELinuxOption | None:
    """A label; None leaves the choice to the runtime."""
    if label is None:
        return None
    return pb.SELinuxOption(user=label.user, role=label.role, type=label.type, level=label.level)
