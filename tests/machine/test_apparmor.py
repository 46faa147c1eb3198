"""AppArmor where the kernel has it: the default profile, one of the node's own, none, and one that is not there."""

from __future__ import annotations

import subprocess  # noqa: TID251 - apparmor_parser, as an administrator calls it
from collections.abc import Iterator

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.security.apparmor import DEFAULT_PROFILE
from tests.machine.test_systemd import run_pod
from tests.support import names
from tests.support.daemon import Daemon, container_config
from tests.support.images import refusal

pytestmark = pytest.mark.root

KINDS = pb.SecurityProfile
WHO = "cat /proc/self/attr/current; echo x > /tmp/denied && echo written; exit 0"


def said(daemon: Daemon, pod: str, name: str, security: pb.LinuxContainerSecurityContext) -> list[str]:
    container = daemon.run_container(pod, "sh", "-c", WHO, name=name, security=security)
    daemon.wait_exit(container, 60)
    lines = daemon.wait_log(container, " F ").read_text().splitlines()
    return [line.split(" F ", 1)[1] for line in lines]


@pytest.fixture
def own_profile() -> Iterator[str]:
    """Loaded: all is allowed but to write a file /tmp/denied."""
    name = names.unique("podwright-test")
    rules = "capability, network, file, umount, signal, deny /tmp/denied w,"
    text = f"profile {name} flags=(attach_disconnected) {{ {rules} }}"
    subprocess.run(["apparmor_parser", "--add", "--skip-cache"], input=text.encode(), check=True)
    yield name
    subprocess.run(["apparmor_parser", "--remove"], input=text.encode(), check=True)


@pytest.mark.parametrize("daemon", ["crun"], indirect=True)
def test_profiles(daemon: Daemon, own_profile: str) -> None:
    pod = run_pod(daemon)

    def context(kind: int, name: str = "") -> pb.LinuxContainerSecurityContext:
        profile = KINDS(profile_type=kind, localhost_ref=name)  # type: ignore[arg-type]
        return pb.LinuxContainerSecurityContext(apparmor=profile)

    assert said(daemon, pod, "default", context(KINDS.RuntimeDefault)) == [f"{DEFAULT_PROFILE} (enforce)", "written"]
    assert said(daemon, pod, "none", context(KINDS.Unconfined)) == ["unconfined", "written"]
    own = daemon.run_container(pod, "sleep", "1000", name="own", security=context(KINDS.Localhost, own_profile))
    denied = daemon.exec(own, "sh", "-c", WHO, timeout=60)
    assert denied.stdout.decode() == f"{own_profile} (enforce)\n"
    assert b"Permission denied" in denied.stderr
    missing = container_config("missing", "true", security=context(KINDS.Localhost, "no-such-profile"))
    code, words = refusal(lambda: daemon.create(pod, missing))
    assert (code, "load it with apparmor_parser" in words) == (grpc.StatusCode.NOT_FOUND, True)
