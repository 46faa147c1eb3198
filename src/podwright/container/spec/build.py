"""Put a container's OCI specification together from the request and the facts. Pure: the same in, the same out.

What the specification takes for granted on the host (directories of mounts that are missing, the working
directory in the rootfs) is in the result, for `container/create` to make.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from podwright.container.spec import security as confinement
from podwright.container.spec.annotations import container_annotations
from podwright.container.spec.devices import device_nodes, device_rules
from podwright.container.spec.facts import HostFacts, ImageFacts, RequestFacts, SandboxFacts
from podwright.container.spec.mounts import plan_mounts, rootfs_propagation
from podwright.container.spec.namespaces import plan_namespaces
from podwright.container.spec.process import arguments, environment, working_directory
from podwright.container.spec.resources import NO_QUOTA, linux_resources
from podwright.container.spec.signals import stop_signal
from podwright.container.spec.user import ResolvedUser, resolve_user
from podwright.container.spec.userns import check_container, oci_mappings
from podwright.criapi import api_pb2 as pb
from podwright.device.edits import apply_edits
from podwright.oci.runtime_spec import Capabilities, Linux, LinuxResources, Process, Root, Spec, User
from podwright.runtime.base import COMPILED_SECCOMP_ANNOTATION
from podwright.security.limits import clamp_oom_score_adj
from podwright.security.seccomp import default_profile

__all__ = ["Built", "HostFacts", "ImageFacts", "RequestFacts", "SandboxFacts", "build_container_spec", "encode"]


@dataclass(frozen=True)
class Built:
    """The specification, what a status shows of it, and what must exist before the runtime is called."""

    spec: Spec
    user: ResolvedUser
    stop_signal: int
    missing_host_directories: tuple[Path, ...]

    @property
    def working_dir(self) -> str:
        """Absolute path inside the rootfs; to be made there if it is missing."""
        return self.spec.process.cwd


def build_container_spec(
    *,
    config: pb.ContainerConfig,
    sandbox: SandboxFacts,
    image: ImageFacts,
    rootfs: Path,
    container_id: str,
    cgroups_path: str,
    passwd: bytes | None,
    group: bytes | None,
    host: HostFacts,
    request: RequestFacts,
    target_pid: int = 0,
) -> Built:
    """The whole config.json of a container.

    `cgroups_path` is in the cgroup driver's own form; `passwd` and `group` are the image's files, read inside the
    rootfs with a size cap; `target_pid` is the process whose PID namespace the mode TARGET joins.
    Raises InvalidArgument, NotFound (user, AppArmor profile), FailedPrecondition, PrefixedError (RROUnsupported).
    """
    security = config.linux.security_context
    confinement.check_privileged(security, sandbox)
    check_container(security.namespace_options, sandbox)
    user = resolve_user(security, image.user, passwd=passwd, group=group)
    capabilities = confinement.capabilities(security, host)
    spec = Spec(
        process=_process(config, sandbox, image, host, user, capabilities),
        root=Root(path=str(rootfs), readonly=security.readonly_rootfs),
        mounts=plan_mounts(config, sandbox, host, request.sources),
        annotations=_annotations(config, sandbox, image, host, request, container_id),
        linux=_linux(config, sandbox, host, request, capabilities, cgroups_path, target_pid),
    )  # fmt: skip
    apply_edits(spec, request.edits)
    groups = dict.fromkeys([*user.supplemental_groups, *request.edits.additional_gids])
    user = replace(user, supplemental_groups=tuple(groups))
    missing = dict.fromkeys(source.path for source in request.sources.values() if not source.exists)
    return Built(spec, user, stop_signal(config.stop_signal, image.stop_signal), tuple(missing))


def encode(spec: Spec) -> bytes:
    """config.json."""
    return msgspec.json.encode(spec)


def _process(
    config: pb.ContainerConfig, sandbox: SandboxFacts, image: ImageFacts, host: HostFacts, user: ResolvedUser,
    capabilities: Capabilities,
) -> Process:  # fmt: skip
    security = config.linux.security_context
    label, _ = confinement.selinux_labels(security, sandbox, host)
    hostname = sandbox.hostname or (host.hostname if sandbox.host_network else "")
    asked_oom = config.linux.resources.oom_score_adj
    return Process(
        args=arguments(config, image),
        cwd=working_directory(config, image),
        user=User(uid=user.uid, gid=user.gid, additional_gids=list(user.supplemental_groups)),
        env=environment(config, image, hostname=hostname, home=user.home),
        terminal=config.tty,
        capabilities=capabilities,
        no_new_privileges=security.no_new_privs,
        oom_score_adj=clamp_oom_score_adj(asked_oom, host.oom_score_adj_min),
        apparmor_profile=confinement.apparmor_profile(security),
        selinux_label=label,
    )


def _annotations(
    config: pb.ContainerConfig, sandbox: SandboxFacts, image: ImageFacts, host: HostFacts, request: RequestFacts,
    container_id: str,
) -> dict[str, str]:  # fmt: skip
    annotations = container_annotations(
        container_id=container_id, container_name=config.metadata.name, given=config.annotations,
        sandbox=sandbox, image=image, allowed=host.allowed_annotations,
    )  # fmt: skip
    if request.seccomp_filter:
        annotations[COMPILED_SECCOMP_ANNOTATION] = request.seccomp_filter
    return annotations


def _linux(
    config: pb.ContainerConfig, sandbox: SandboxFacts, host: HostFacts, request: RequestFacts,
    capabilities: Capabilities, cgroups_path: str, target_pid: int,
) -> Linux:  # fmt: skip
    security = config.linux.security_context
    masked, readonly = confinement.hidden_paths(security)
    return Linux(
        namespaces=plan_namespaces(security.namespace_options, sandbox, host, target_pid=target_pid),
        uid_mappings=oci_mappings(sandbox.id_maps.uids) if sandbox.id_maps else [],
        gid_mappings=oci_mappings(sandbox.id_maps.gids) if sandbox.id_maps else [],
        devices=device_nodes(request.devices, security if host.device_ownership else None),
        cgroups_path=cgroups_path,
        resources=_resources(config, host, request),
        seccomp=_seccomp(security, request, capabilities),
        masked_paths=masked,
        readonly_paths=readonly,
        mount_label=confinement.selinux_labels(security, sandbox, host)[1],
        rootfs_propagation=rootfs_propagation(config.mounts),
    )


def _resources(config: pb.ContainerConfig, host: HostFacts, request: RequestFacts) -> LinuxResources:
    resources = linux_resources(config.linux.resources, host)
    if resources.cpu is not None and resources.cpu.quota == NO_QUOTA:
        # What a new cgroup has anyway; crun can't write it on cgroup v1.
        resources.cpu = msgspec.structs.replace(resources.cpu, quota=None)
    everything = config.linux.security_context.privileged and host.privileged_devices
    return msgspec.structs.replace(resources, devices=device_rules(request.devices, everything=everything))


def _seccomp(
    security: pb.LinuxContainerSecurityContext, request: RequestFacts, capabilities: Capabilities
) -> msgspec.Raw | None:
    asked = confinement.seccomp_profile(security)
    if asked == confinement.DEFAULT and request.seccomp is None:
        all_abis = request.all_abis or bool(request.seccomp_filter)
        return default_profile(capabilities.bounding, all_abis=all_abis)
    return None if asked == confinement.UNCONFINED else request.seccomp
