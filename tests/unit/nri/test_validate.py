"""The built-in validator."""

from __future__ import annotations

import pytest

from podwright.nri import nri_pb2 as pb
from podwright.nri import validate
from podwright.nri.base import Refused
from podwright.nri.owners import Owners
from podwright.nri.settings import Rejectable, Settings

CONTAINER = pb.Container(id="c", name="main")


def owned(field: pb.Field.ValueType, key: str | None = None) -> Owners:
    owners = Owners()
    owners.claim("c", field, "10-a", key)
    return owners


@pytest.mark.parametrize(
    ("what", "owners"),
    [
        ("hooks", owned(pb.OciHooks)),
        ("namespaces", owned(pb.Namespace, "network")),
        ("sysctls", owned(pb.Sysctl, "net.core.somaxconn")),
        ("seccomp-default", owned(pb.SeccompPolicy)),
    ],
)
def test_what_is_rejected_is_rejected_and_nothing_else(what: Rejectable, owners: Owners) -> None:
    validate.check(Settings(), CONTAINER, owners)
    validate.check(Settings(reject=(what,)), CONTAINER, Owners())
    with pytest.raises(Refused, match="10-a"):
        validate.check(Settings(reject=(what,)), CONTAINER, owners)


def test_seccomp_is_judged_by_the_profile_the_pod_asked_for() -> None:
    unconfined = pb.SecurityProfile(profile_type=pb.SecurityProfile.UNCONFINED)
    container = pb.Container(id="c", linux=pb.LinuxContainer(seccomp_profile=unconfined))
    validate.check(Settings(reject=("seccomp-default", "seccomp-custom")), container, owned(pb.SeccompPolicy))
    with pytest.raises(Refused, match="seccomp-unconfined"):
        validate.check(Settings(reject=("seccomp-unconfined",)), container, owned(pb.SeccompPolicy))


def test_required_plugins_by_name_with_or_without_index() -> None:
    settings = Settings(required_plugins=("guard", "20-other"))
    validate.check_required(settings, pb.PodSandbox(), "main", ["10-guard", "20-other"])
    with pytest.raises(Refused, match="not connected: 20-other"):
        validate.check_required(settings, pb.PodSandbox(), "main", ["10-guard", "21-other"])


@pytest.mark.parametrize("suffix", ["", "/pod", "/container.main"])
def test_a_pod_may_ask_for_more(suffix: str) -> None:
    pod = pb.PodSandbox(annotations={validate.REQUIRED_ANNOTATION + suffix: "[ guard ]"})
    validate.check_required(Settings(), pod, "main", ["10-guard"])
    with pytest.raises(Refused, match="guard"):
        validate.check_required(Settings(), pod, "main", [])


def test_what_is_asked_of_another_container_does_not_count() -> None:
    pod = pb.PodSandbox(annotations={f"{validate.REQUIRED_ANNOTATION}/container.other": "[ guard ]"})
    validate.check_required(Settings(), pod, "main", [])


@pytest.mark.parametrize("text", ["guard: x", "[1]", "{", ""])
def test_an_annotation_that_is_no_list_is_refused(text: str) -> None:
    pod = pb.PodSandbox(annotations={validate.REQUIRED_ANNOTATION: text})
    with pytest.raises(Refused, match="not a list of names"):
        validate.check_required(Settings(), pod, "main", [])


def test_a_pod_may_be_freed_of_required_plugins() -> None:
    settings = Settings(required_plugins=("guard",), tolerate_missing_annotation="tolerate")
    validate.check_required(settings, pb.PodSandbox(annotations={"tolerate": "true"}), "main", [])
    with pytest.raises(Refused):
        validate.check_required(settings, pb.PodSandbox(annotations={"tolerate": "false"}), "main", [])
