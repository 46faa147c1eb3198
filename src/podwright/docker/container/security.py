"""Confinement of a container in Docker's words: capabilities, seccomp, AppArmor, SELinux, paths, devices."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.base.errors import InvalidArgument
from podwright.container.spec import security as confinement
from podwright.container.spec.facts import HostFacts, RequestFacts, SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Device

_FIELD = "linux.security_context"
_LABEL = ("user", "role", "type", "level")


def security_body(
    config: pb.ContainerConfig, sandbox: SandboxFacts, host: HostFacts, request: RequestFacts, *,
    gives_privileges: bool,
) -> dict[str, object]:  # fmt: skip
    """HostConfig's part of it. Raises InvalidArgument, FailedPrecondition, NotFound."""
    security = config.linux.security_context
    confinement.check_privileged(security, sandbox)
    capabilities = confinement.capabilities(security, host)
    if capabilities.ambient:
        raise InvalidArgument(
            "Docker gives no ambient capabilities; the native backend does",
            field=f"{_FIELD}.capabilities.add_ambient_capabilities",
        )
    masked, readonly = confinement.hidden_paths(security)
    whole = security.privileged and gives_privileges
    body: dict[str, object] = {
        "Privileged": whole,
        "CapDrop": ["ALL"],
        "CapAdd": list(capabilities.bounding),
        "SecurityOpt": list(_options(security, sandbox, host, request)),
        "MaskedPaths": masked,
        "ReadonlyPaths": readonly,
        "Devices": [_device(device) for device in config.devices],
    }
    if security.privileged and not whole:
        # Docker's "privileged" means all capabilities there are, and fails where the machine has fewer to give.
        body["Devices"] = [_host_device(device, access) for device, access in request.devices]
        body["DeviceCgroupRules"] = ["a *:* rwm"]
    return body


def _options(
    security: pb.LinuxContainerSecurityContext, sandbox: SandboxFacts, host: HostFacts, request: RequestFacts
) -> Iterator[str]:
    """SecurityOpt. What is asked for by default is Docker's own default, and needs no word."""
    if security.no_new_privs:
        yield "no-new-privileges"
    if confinement.seccomp_profile(security) == confinement.UNCONFINED:
        yield "seccomp=unconfined"
    elif request.seccomp is not None:
        yield f"seccomp={bytes(request.seccomp).decode()}"
    asked = confinement.asked_apparmor(security)
    if asked != confinement.DEFAULT:
        yield f"apparmor={confinement.apparmor_profile(security) or 'unconfined'}"
    process, _ = confinement.selinux_labels(security, sandbox, host)
    if security.privileged:
        yield "label=disable"
    elif process:
        yield from (f"label={key}:{word}" for key, word in zip(_LABEL, process.split(":", 3), strict=False))


def _device(asked: pb.Device) -> dict[str, str]:
    """Docker looks below a directory itself."""
    return {
        "PathOnHost": asked.host_path, "PathInContainer": asked.container_path or asked.host_path,
        "CgroupPermissions": asked.permissions or "rwm",
    }  # fmt: skip


def _host_device(device: Device, access: str) -> dict[str, str]:
    return {"PathOnHost": device.path, "PathInContainer": device.path, "CgroupPermissions": access}
