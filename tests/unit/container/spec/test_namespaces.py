"""Own, joined and host namespaces."""

from __future__ import annotations

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.container.spec.facts import HostFacts, SandboxFacts
from podwright.container.spec.namespaces import plan_namespaces
from podwright.criapi import api_pb2 as pb

PATHS = {"network": "/ns/net", "ipc": "/ns/ipc", "uts": "/ns/uts"}


def plan(
    pid: pb.NamespaceMode.ValueType, *, paths: dict[str, str] = PATHS, unified: bool = False, target_pid: int = 0
) -> dict[str, str]:
    sandbox = SandboxFacts(id="s", name="p", namespace="n", uid="u", namespaces=paths)
    host = HostFacts(capabilities=frozenset(), unified_cgroups=unified)
    found = plan_namespaces(pb.NamespaceOption(pid=pid), sandbox, host, target_pid=target_pid)
    assert len({namespace.type for namespace in found}) == len(found)
    return {namespace.type: namespace.path for namespace in found}


def test_the_pods_namespaces_are_joined() -> None:
    assert plan(pb.CONTAINER) == {"mount": "", **PATHS, "pid": ""}


def test_the_hosts_are_those_that_are_not_named() -> None:
    assert plan(pb.NODE, paths={}) == {"mount": ""}
    with pytest.raises(FailedPrecondition, match="has a kernel of its own: the host's PIDs can't be had"):
        plan(pb.NODE, paths={"pid": ""})


def test_pid_of_the_pod() -> None:
    assert plan(pb.POD, paths={"pid": "/proc/7/ns/pid"})["pid"] == "/proc/7/ns/pid"
    with pytest.raises(FailedPrecondition, match="shared PID"):
        plan(pb.POD)


def test_pid_of_another_container() -> None:
    assert plan(pb.TARGET, target_pid=42)["pid"] == "/proc/42/ns/pid"
    with pytest.raises(InvalidArgument, match="target_id"):
        plan(pb.TARGET)


def test_a_cgroup_namespace_on_v2_only() -> None:
    assert "cgroup" in plan(pb.CONTAINER, unified=True)
    assert "cgroup" not in plan(pb.CONTAINER)


def test_a_user_namespace_comes_before_those_it_owns() -> None:
    order = list(plan(pb.CONTAINER, paths={"user": "/ns/user", **PATHS}))
    assert order.index("user") < order.index("network")
