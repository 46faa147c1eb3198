"""Confinement: new fields over old ones, and what privileged switches off."""

from __future__ import annotations

from pathlib import Path

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
    for field in ("masked_paths", "readonly_paths"):
        with pytest.raises(InvalidArgument, match=rf"{field}\[1\].*absolute"):
            security.hidden_paths(Context(**{field: ["/ok", "proc/kcore"]}))  # type: ignore[arg-type]


def test_privileged_needs_a_privileged_pod() -> None:
    pod = SandboxFacts(id="s", name="p", namespace="n", uid="u")
    security.check_privileged(Context(), pod)
    with pytest.raises(FailedPrecondition, match="not privileged"):
        security.check_privileged(Context(privileged=True), pod)


POD = SandboxFacts(id="s", name="p", namespace="n", uid="u", selinux_level="s0:c7,c8")
HOST = HostFacts(capabilities=frozenset())


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A selinuxfs whose policy takes every context."""
    for name in ("enforce", "context"):
        (tmp_path / name).touch()
    monkeypatch.setattr(selinux, "_ROOT", tmp_path)
    monkeypatch.setattr(selinux, "available", lambda: True)
    return tmp_path


@pytest.mark.usefixtures("policy")
def test_selinux_labels_have_the_pods_level_or_the_one_asked_for() -> None:
    assert security.selinux_labels(Context(), POD, HOST) == (
        "system_u:system_r:container_t:s0:c7,c8", "system_u:object_r:container_file_t:s0:c7,c8",
    )  # fmt: skip
    own = Context(selinux_options=pb.SELinuxOption(type="svirt_lxc_net_t", level="s0:c1,c2"))
    assert security.selinux_labels(own, POD, HOST) == (
        "system_u:system_r:svirt_lxc_net_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2",
    )  # fmt: skip
    process, files = security.selinux_labels(Context(privileged=True), POD, HOST)
    assert process == "system_u:system_r:spc_t:s0"
    assert files == "system_u:object_r:container_file_t:s0:c7,c8"


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.parametrize(
    ("wrong", "field"), [({"level": "s0,c4,c5"}, "level"), ({"type": "a:b"}, "type"), ({"user": "x y"}, "user")]
)
def test_wrong_selinux_options_are_refused(wrong: dict[str, str], field: str, *, privileged: bool) -> None:
    context = Context(selinux_options=pb.SELinuxOption(**wrong), privileged=privileged)
    with pytest.raises(InvalidArgument, match=f"selinux_options.{field}"):
        security.selinux_labels(context, POD, HOST)


def test_selinux_where_the_kernel_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selinux, "available", lambda: False)
    assert security.selinux_labels(Context(selinux_options=pb.SELinuxOption()), POD, HOST) == ("", "")
    asked = Context(selinux_options=pb.SELinuxOption(type="spc_t"))
    with pytest.raises(FailedPrecondition, match=r"no SELinux.*selinux_optional"):
        security.selinux_labels(asked, POD, HOST)
    optional = HostFacts(capabilities=frozenset(), selinux_optional=True)
    assert security.selinux_labels(asked, POD, optional) == ("", "")


def test_capabilities_come_from_the_request() -> None:
    host = HostFacts(capabilities=frozenset({"CAP_NET_ADMIN", "CAP_CHOWN"}))
    asked = Context(capabilities=pb.Capability(add_capabilities=["NET_ADMIN"], drop_capabilities=["ALL"]))
    assert security.capabilities(asked, host).bounding == ["CAP_NET_ADMIN"]
