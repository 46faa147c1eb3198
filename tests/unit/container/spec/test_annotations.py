"""What of a pod's annotations a runtime sees."""

from __future__ import annotations

import json

import pytest

from podwright.container.spec.annotations import container_annotations, sandbox_annotations
from podwright.container.spec.facts import ImageFacts, SandboxFacts
from podwright.criapi import api_pb2 as pb

HOSTILE = {
    "org.systemd.property.ExecStopPost": "x",
    "run.oci.handler": "wasm",
    "run.oci.seccomp_bpf_data": "",
    "io.kubernetes.cri-o.ContainerType": "sandbox",
    "io.kubernetes.cri.sandbox-id": "another",
    "io.katacontainers.config.hypervisor.path": "/bin/sh",
    "org.criu.config": "/etc/shadow",
    "module.wasm.image/variant": "compat",
    "io.containerd.x": "y",
}


def build(given: dict[str, str], *, pod: dict[str, str] | None = None, allowed: tuple[str, ...] = ()) -> dict[str, str]:
    sandbox = SandboxFacts(id="SID", name="pod", namespace="ns", uid="UID", annotations=pod or {})
    return container_annotations(
        container_id="CID", container_name="c", given=given, sandbox=sandbox, image=ImageFacts(name="img"),
        allowed=allowed,
    )  # fmt: skip


def test_plain_ones_pass_and_the_containers_win() -> None:
    found = build({"a": "container", "b/c": "1"}, pod={"a": "pod", "d": "2"})
    assert (found["a"], found["b/c"], found["d"]) == ("container", "1", "2")


@pytest.mark.parametrize("key", HOSTILE)
def test_orders_to_runtimes_do_not_pass(key: str) -> None:
    value = HOSTILE[key]
    for found in (build({key: value}), build({}, pod={key: value})):
        assert key not in found or found[key] != value


def test_a_handler_may_let_some_through() -> None:
    found = build(HOSTILE, allowed=("run.oci.handler", "io.katacontainers."))
    assert found["run.oci.handler"] == "wasm"
    assert found["io.katacontainers.config.hypervisor.path"] == "/bin/sh"
    assert "org.systemd.property.ExecStopPost" not in found


def test_nobody_can_speak_for_us() -> None:
    found = build(HOSTILE, pod=HOSTILE, allowed=("io.kubernetes.",))
    assert found["io.kubernetes.cri-o.ContainerType"] == "container"
    assert found["io.kubernetes.cri.sandbox-id"] == "SID"


def test_both_dialects() -> None:
    found = build({})
    assert found["io.kubernetes.cri-o.SandboxID"] == found["io.kubernetes.cri.sandbox-id"] == "SID"
    assert found["io.kubernetes.cri-o.ContainerType"] == found["io.kubernetes.cri.container-type"] == "container"
    assert (found["io.kubernetes.cri-o.ContainerID"], found["io.kubernetes.cri.sandbox-uid"]) == ("CID", "UID")
    sandbox = sandbox_annotations(SandboxFacts(id="SID", name="pod", namespace="ns", uid="UID", annotations=HOSTILE))
    assert sandbox["io.kubernetes.cri-o.ContainerType"] == sandbox["io.kubernetes.cri.container-type"] == "sandbox"
    assert "run.oci.handler" not in sandbox


def test_a_sandbox_container_knows_the_size_of_its_pod() -> None:
    resources = pb.LinuxContainerResources(
        cpu_period=100000, cpu_shares=2, memory_limit_in_bytes=1 << 30,
        hugepage_limits=[pb.HugepageLimit(page_size="2MB", limit=4)], unified={"memory.high": "1"},
    )  # fmt: skip
    facts = SandboxFacts(id="SID", name="pod", namespace="ns", uid="UID", resources=resources)
    found = sandbox_annotations(facts)
    assert {key: value for key, value in found.items() if ".sandbox-cpu" in key or ".sandbox-mem" in key} == {
        "io.kubernetes.cri.sandbox-cpu-period": "100000", "io.kubernetes.cri.sandbox-cpu-quota": "0",
        "io.kubernetes.cri.sandbox-cpu-shares": "2", "io.kubernetes.cri.sandbox-memory": "1073741824",
    }  # fmt: skip
    assert json.loads(found["io.kubernetes.cri-o.PodLinuxResources"]) == {
        "cpu_period": 100000, "cpu_shares": 2, "memory_limit_in_bytes": 1 << 30,
        "hugepage_limits": [{"page_size": "2MB", "limit": 4}], "unified": {"memory.high": "1"},
    }  # fmt: skip
    assert "io.kubernetes.cri-o.PodLinuxOverhead" not in found


def test_a_pod_of_unknown_size_has_no_annotation_of_it() -> None:
    empty = pb.LinuxContainerResources()
    facts = SandboxFacts(id="SID", name="pod", namespace="ns", uid="UID", resources=empty, overhead=empty)
    assert not [key for key in sandbox_annotations(facts) if "memory" in key or "Linux" in key]
