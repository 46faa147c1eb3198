"""The built-in validator: what the node's administrator doesn't let plugins do. Pure."""

from __future__ import annotations

import yaml

from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.owners import Owners
from podwright.nri.settings import Settings

REQUIRED_ANNOTATION = "required-plugins.noderesource.dev"

_SECCOMP = {
    pb.SecurityProfile.RUNTIME_DEFAULT: "seccomp-default",
    pb.SecurityProfile.LOCALHOST: "seccomp-custom",
    pb.SecurityProfile.UNCONFINED: "seccomp-unconfined",
}


def check(settings: Settings, container: pb.Container, owners: Owners) -> None:
    """`container` as it was before any adjustment. Raises Refused."""
    hooks = owners.of(container.id, pb.OciHooks)
    if hooks and "hooks" in settings.reject:
        raise Refused(f"NRI plugin {hooks} may not add OCI hooks (nri.reject)")
    for kind, field in (("namespaces", pb.Namespace), ("sysctls", pb.Sysctl)):
        entries = owners.keys(container.id, field)
        if entries and kind in settings.reject:
            who = ", ".join(f"{plugin} ({key})" for key, plugin in sorted(entries.items()))
            raise Refused(f"NRI plugins may not change {kind} (nri.reject): {who}")
    seccomp = owners.of(container.id, pb.SeccompPolicy)
    profile = _SECCOMP.get(container.linux.seccomp_profile.profile_type, "")
    if seccomp and profile in settings.reject:
        raise Refused(f"NRI plugin {seccomp} may not change a container's seccomp policy (nri.reject: {profile})")


def check_required(settings: Settings, pod: pb.PodSandbox, container_name: str, connected: list[str]) -> None:
    """`connected`: names like 10-logger. Raises Refused when a plugin that must look at containers is not there."""
    tolerate = settings.tolerate_missing_annotation
    if tolerate and (effective_annotation(pod, tolerate, container_name) or "").lower() in ("true", "1", "t"):
        return
    required = [*settings.required_plugins, *_annotated(pod, container_name)]
    known = {*connected, *(name.partition("-")[2] for name in connected)}
    if missing := [name for name in required if name not in known]:
        raise Refused(f"required NRI plugins are not connected: {', '.join(missing)}")


def _annotated(pod: pb.PodSandbox, container_name: str) -> list[str]:
    text = effective_annotation(pod, REQUIRED_ANNOTATION, container_name)
    if text is None:
        return []
    try:
        names = yaml.safe_load(text)
    except yaml.YAMLError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(f"annotation {REQUIRED_ANNOTATION}: {text!r} is not a list of names in YAML")
    return names


def effective_annotation(pod: pb.PodSandbox, key: str, container_name: str) -> str | None:
    """The pod's annotation for one container (KEY/container.NAME), for all of them (KEY/pod), or plain."""
    for candidate in (f"{key}/container.{container_name}", f"{key}/pod", key):
        if candidate in pod.annotations:
            return pod.annotations[candidate]
    return None
