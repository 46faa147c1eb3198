"""Confinement: new fields over old ones, and what privileged switches off."""

from __future__ import annotations

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.container.spec import security
from podwright.container.spec.facts import HostFacts, SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.security import apparmor, selinux

Context = pb.LinuxContainerSecurityContext
RuntimeDefault, Unconfined, Localhost = (
    pb.SecurityProfile.RuntimeDefault, pb.SecurityProfile.Unconfined, pb.SecurityProfile.Localhost,
)  # fmt: skip


@pytest.mark.parametrize(
    ("context", "kind", "name"),
    [
        (Context(), "unconfined", ""),
        (Context(seccomp=pb.SecurityProfile(profile_type=RuntimeDefault)), "default", ""),
        (Context(seccomp=pb.SecurityProfile(profile_type=Unconfined)), "unconfined", ""),
        (Context(seccomp=pb.SecurityProfile(profile_type=Localhost, localhost_ref="/p")), "localhost", "/p"),
        (Context(seccomp_profile_path="runtime/default"), "default", ""),
        (Context(seccomp_profile_path="docker/default"), "default", ""),
        (Context(seccomp_profile_path="unconfined"), "unconfined", ""),
        (Context(seccomp_profile_path="localhost//p.json"), "localhost", "/p.json"),
        (
            Context(seccomp=pb.SecurityProfile(profile_type=Unconfined), seccomp_profile_path="runtime/default"),
            "unconfined", "",
        ),
        (Context(seccomp=pb.SecurityProfile(profile_type=RuntimeDefault), privileged=True), "unconfined", ""),
    ],
)  # fmt: skip
def test_seccomp(context: Context, kind: str, name: str) -> None:
    assert security.seccomp_profile(context) == security.Profile(kind, name)


@pytest.mark.parametrize(
    "context",
    [
        Context(seccomp=pb.SecurityProfile(profile_type=Localhost)),
        Context(seccomp_profile_path="localhost/"),
        Context(seccomp_profile_path="something"),
    ],
)
def test_bad_seccomp(context: Context) -> None:
    with pytest.raises(InvalidArgument, match="seccomp"):
        security.seccomp_profile(context)


def test_apparmor_where_the_kernel_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "available", lambda: False)
    assert security.apparmor_profile(Context()) == ""
    assert security.apparmor_profile(Context(apparmor=pb.SecurityProfile(profile_type=RuntimeDefault))) == ""
    assert security.apparmor_profile(Context(apparmor_profile="unconfined")) == ""
    asked = pb.SecurityProfile(profile_type=Localhost, localhost_ref="mine")
    with pytest.raises(FailedPrecondition, match="no AppArmor"):
        security.apparmor_profile(Context(apparmor=asked))
    with pytest.raises(FailedPrecondition, match="'mine'"):
        security.apparmor_profile(Context(apparmor_profile="localhost/mine"))
    assert security.apparmor_profile(Context(apparmor=asked, privileged=True)) == ""


def test_masked_and_read_only_paths_are_those_given() -> None:
    context = Context(masked_paths=["/proc/kcore"], readonly_paths=["/proc/sys"])
    assert security.hidden_paths(context) == (["/proc/kcore"], ["/proc/sys"])
    assert security.hidden_paths(Context()) == ([], [])
    context.privileged = True
    assert security.hidden_paths(context) == ([], [])
    with pytest.raises(InvalidArgument, match="absolute"):
        security.hidden_paths(Context(masked_paths=["proc/kcore"]))


def test_privileged_needs_a_privileged_pod() -> None:
    pod = SandboxFacts(id="s", name="p", namespace="n", uid="u")
    security.check_privileged(Context(), pod)
    with pytest.raises(FailedPrecondition, match="not privileged"):
        security.check_privileged(Context(privileged=True), pod)


def test_selinux_labels_where_the_kernel_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(selinux_options=pb.SELinuxOption(level="s0:c1,c2"))
    monkeypatch.setattr(selinux, "available", lambda: True)
    assert security.selinux_labels(context) == (
        "system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2",
    )  # fmt: skip
    context.privileged = True
    assert security.selinux_labels(context) == ("", "")
    monkeypatch.setattr(selinux, "available", lambda: False)
    context.privileged = False
    assert security.selinux_labels(context) == ("", "")


def test_capabilities_come_from_the_request() -> None:
    host = HostFacts(capabilities=frozenset({"CAP_NET_ADMIN", "CAP_CHOWN"}))
    asked = Context(capabilities=pb.Capability(add_capabilities=["NET_ADMIN"], drop_capabilities=["ALL"]))
    assert security.capabilities(asked, host).bounding == ["CAP_NET_ADMIN"]
