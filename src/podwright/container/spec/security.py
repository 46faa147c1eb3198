"""Confinement of a container: seccomp, AppArmor, SELinux, masked and read-only paths, as the request asks for them.

Each of seccomp and AppArmor can be asked for in a new field and in a deprecated one; the new one wins. Privileged
switches all of it off.
"""

from __future__ import annotations

from dataclasses import dataclass

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.container.spec.facts import HostFacts, SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Capabilities
from podwright.security import apparmor, selinux
from podwright.security.capabilities import container_capabilities

_FIELD = "linux.security_context"
_PROFILE_WORDS = {
    "runtime/default": pb.SecurityProfile.RuntimeDefault,
    "docker/default": pb.SecurityProfile.RuntimeDefault,
    "unconfined": pb.SecurityProfile.Unconfined,
    "": pb.SecurityProfile.Unconfined,
}


@dataclass(frozen=True)
class Profile:
    """What is asked for. `kind`: unconfined, default or localhost; `name`: of a localhost profile."""

    kind: str
    name: str = ""


UNCONFINED, DEFAULT = Profile("unconfined"), Profile("default")


def check_privileged(security: pb.LinuxContainerSecurityContext, sandbox: SandboxFacts) -> None:
    """A privileged container needs a pod that was made for one."""
    if security.privileged and not sandbox.privileged:
        raise FailedPrecondition(f"pod {sandbox.name} is not privileged: it can't hold a privileged container")


def capabilities(security: pb.LinuxContainerSecurityContext, host: HostFacts) -> Capabilities:
    """The capability sets of the container's process."""
    asked = security.capabilities
    return container_capabilities(
        add=asked.add_capabilities, drop=asked.drop_capabilities, add_ambient=asked.add_ambient_capabilities,
        privileged=security.privileged, available=host.capabilities,
    )  # fmt: skip


def seccomp_profile(security: pb.LinuxContainerSecurityContext) -> Profile:
    """Nothing asked for means unconfined, as the CRI has it; a localhost name is an absolute path."""
    if security.privileged:
        return UNCONFINED
    if security.HasField("seccomp"):
        return _profile(security.seccomp, "seccomp")
    return _deprecated(security.seccomp_profile_path, "seccomp_profile_path")


def apparmor_profile(security: pb.LinuxContainerSecurityContext) -> str:
    """The name for process.apparmorProfile; '' for none. Raises what `security/apparmor` raises."""
    asked = asked_apparmor(security)
    if asked.kind == "localhost":
        return apparmor.localhost_profile(asked.name)
    return apparmor.default_profile() if asked == DEFAULT else ""


def asked_apparmor(security: pb.LinuxContainerSecurityContext) -> Profile:
    """Nothing asked for means the default, whatever that is on this machine. Raises InvalidArgument."""
    if security.privileged:
        return UNCONFINED
    if security.HasField("apparmor"):
        return _profile(security.apparmor, "apparmor")
    if not security.apparmor_profile:
        return DEFAULT
    return _deprecated(security.apparmor_profile, "apparmor_profile")


def selinux_labels(
    security: pb.LinuxContainerSecurityContext, sandbox: SandboxFacts, host: HostFacts
) -> tuple[str, str]:
    """Process label and mount label; '' where there is no SELinux. Raises InvalidArgument, FailedPrecondition."""
    options, field = selinux_options(security.selinux_options), f"{_FIELD}.selinux_options"
    selinux.check(options, field)
    if not host.selinux_optional:
        selinux.require(options, field)
    if not selinux.available():
        return "", ""
    level = sandbox.selinux_level
    process = selinux.process_label(options, pod_level=level, privileged=security.privileged)
    return process, selinux.file_label(options, pod_level=level)


def selinux_options(asked: pb.SELinuxOption) -> selinux.Options:
    """The request's words as the security room has them."""
    return selinux.Options(user=asked.user, role=asked.role, type=asked.type, level=asked.level)


def hidden_paths(security: pb.LinuxContainerSecurityContext) -> tuple[list[str], list[str]]:
    """Masked and read-only paths: those given. An empty list means none (procMount: Unmasked), not a default."""
    if security.privileged:
        return [], []
    for name, paths in (("masked_paths", security.masked_paths), ("readonly_paths", security.readonly_paths)):
        for at, path in enumerate(paths):
            if not path.startswith("/") or "\0" in path:
                raise InvalidArgument(f"{path!r} must be an absolute path", field=f"{_FIELD}.{name}[{at}]")
    return list(security.masked_paths), list(security.readonly_paths)


def _profile(given: pb.SecurityProfile, field: str) -> Profile:
    if given.profile_type == pb.SecurityProfile.RuntimeDefault:
        return DEFAULT
    if given.profile_type == pb.SecurityProfile.Unconfined:
        return UNCONFINED
    if given.profile_type != pb.SecurityProfile.Localhost or not given.localhost_ref:
        raise InvalidArgument("a Localhost profile needs localhost_ref", field=f"{_FIELD}.{field}")
    return Profile("localhost", given.localhost_ref.removeprefix("localhost/"))


def _deprecated(text: str, field: str) -> Profile:
    if text.startswith("localhost/") and text != "localhost/":
        return Profile("localhost", text.removeprefix("localhost/"))
    if text not in _PROFILE_WORDS:
        raise InvalidArgument(f"{text!r} is no profile", field=f"{_FIELD}.{field}")
    return DEFAULT if _PROFILE_WORDS[text] == pb.SecurityProfile.RuntimeDefault else UNCONFINED
