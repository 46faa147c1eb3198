"""From the security contexts of a manifest to `model.Security`."""

from __future__ import annotations

from podwright.cli.manifest import fields
from podwright.cli.manifest.model import Profile, Security, SELinuxLabel
from podwright.cli.manifest.node import Node

_ID_MAX = 2**31 - 1


def read_pod_security(node: Node | None) -> Security:
    """spec.securityContext."""
    if node is None:
        return Security()
    node.only(fields.POD_SECURITY, ignored=fields.SECURITY_IGNORED, refused=fields.SECURITY_REFUSED)
    node.choice("fsGroupChangePolicy", ("Always", "OnRootMismatch"), "Always")
    return Security(
        run_as_user=node.integer("runAsUser", most=_ID_MAX), run_as_group=node.integer("runAsGroup", most=_ID_MAX),
        run_as_non_root=node.flag("runAsNonRoot"), selinux=read_selinux(node.child("seLinuxOptions")),
        seccomp=read_profile(node.child("seccompProfile")), apparmor=read_profile(node.child("appArmorProfile")),
        fs_group=node.integer("fsGroup", most=_ID_MAX), supplemental_groups=node.integers("supplementalGroups"),
        supplemental_groups_policy=node.choice("supplementalGroupsPolicy", ("Merge", "Strict"), "Merge"),
        sysctls=read_sysctls(node),
    )  # fmt: skip


def read_container_security(node: Node | None) -> Security:
    """securityContext of a container."""
    if node is None:
        return Security()
    node.only(fields.CONTAINER_SECURITY, refused=fields.SECURITY_REFUSED)
    capabilities = node.child("capabilities")
    if capabilities is not None:
        capabilities.only({"add", "drop"})
    privileged, escalation = bool(node.flag("privileged")), node.flag("allowPrivilegeEscalation")
    if privileged and escalation is False:
        raise node.error("allowPrivilegeEscalation", "can't be false in a privileged container")
    return Security(
        run_as_user=node.integer("runAsUser", most=_ID_MAX), run_as_group=node.integer("runAsGroup", most=_ID_MAX),
        run_as_non_root=node.flag("runAsNonRoot"), selinux=read_selinux(node.child("seLinuxOptions")),
        seccomp=read_profile(node.child("seccompProfile")), apparmor=read_profile(node.child("appArmorProfile")),
        privileged=privileged, read_only_root=bool(node.flag("readOnlyRootFilesystem")),
        allow_privilege_escalation=escalation,
        proc_mount=node.choice("procMount", ("Default", "Unmasked"), "Default"),
        capabilities_add=capabilities.texts("add") if capabilities else (),
        capabilities_drop=capabilities.texts("drop") if capabilities else (),
    )  # fmt: skip


def read_profile(node: Node | None) -> Profile | None:
    """A seccomp or AppArmor profile."""
    if node is None:
        return None
    node.only({"type", "localhostProfile"})
    kind = node.choice("type", ("RuntimeDefault", "Unconfined", "Localhost"), "")
    name = node.text("localhostProfile")
    if bool(name) != (kind == "Localhost"):
        raise node.error("localhostProfile", "goes together with type Localhost, and only with that")
    if ".." in name.split("/"):
        raise node.error("localhostProfile", "must not contain ..")
    return Profile(kind, name)


def read_selinux(node: Node | None) -> SELinuxLabel | None:
    """seLinuxOptions."""
    if node is None:
        return None
    node.only({"user", "role", "type", "level"})
    return SELinuxLabel(node.text("user"), node.text("role"), node.text("type"), node.text("level"))


def read_sysctls(node: Node) -> dict[str, str]:
    """sysctls: names with dots and their values."""
    found = {}
    for item in node.children("sysctls"):
        item.only({"name", "value"})
        found[item.required_text("name").replace("/", ".")] = item.text("value")
    return found
