"""Adjustments of several plugins: merged, in order, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.nri import nri_pb2 as pb
from podwright.nri.adjust import Adjustments
from podwright.nri.base import Refused

A, B = "10-a", "20-b"


def adjustments(**container: Any) -> Adjustments:
    return Adjustments(pb.CreateContainerRequest(container=pb.Container(id="c", **container)))


def answer(**adjust: Any) -> pb.CreateContainerResponse:
    return pb.CreateContainerResponse(adjust=pb.ContainerAdjustment(**adjust))


def linux(**adjust: Any) -> pb.CreateContainerResponse:
    return answer(linux=pb.LinuxContainerAdjustment(**adjust))


def number(value: int) -> pb.OptionalInt64:
    return pb.OptionalInt64(value=value)


MOUNT = pb.Mount(destination="/data", type="bind", source="/srv", options=["ro"])
DEVICE = pb.LinuxDevice(path="/dev/x", type="c", major=1, minor=3)
CONFLICTS = [
    answer(annotations={"k": "v"}),
    answer(mounts=[MOUNT]),
    answer(env=[pb.KeyValue(key="K", value="v")]),
    answer(args=["sh"]),
    answer(rlimits=[pb.POSIXRlimit(type="RLIMIT_NOFILE", hard=2, soft=1)]),
    answer(CDI_devices=[pb.CDIDevice(name="vendor.com/class=x")]),
    linux(devices=[DEVICE]),
    linux(namespaces=[pb.LinuxNamespace(type="network", path="/n")]),
    linux(namespaces=[pb.LinuxNamespace(type="-network")]),
    linux(sysctl={"net.core.somaxconn": "1"}),
    linux(net_devices={"eth7": pb.LinuxNetDevice(name="data")}),
    linux(cgroups_path="/x"),
    linux(oom_score_adj=pb.OptionalInt(value=7)),
    linux(io_priority=pb.LinuxIOPriority(priority=3)),
    linux(seccomp_policy=pb.LinuxSeccomp(default_action="SCMP_ACT_ALLOW")),
    linux(scheduler=pb.LinuxScheduler(policy=pb.SCHED_BATCH)),
    linux(memory_policy=pb.LinuxMemoryPolicy(mode=pb.MPOL_BIND, nodes="0")),
    linux(rdt=pb.LinuxRdt(clos_id=pb.OptionalString(value="gold"))),
    linux(resources=pb.LinuxResources(memory=pb.LinuxMemory(limit=number(1)))),
    linux(resources=pb.LinuxResources(cpu=pb.LinuxCPU(cpus="0-1"))),
    linux(resources=pb.LinuxResources(unified={"memory.low": "1"})),
    linux(resources=pb.LinuxResources(hugepage_limits=[pb.HugepageLimit(page_size="2MB", limit=1)])),
    linux(resources=pb.LinuxResources(blockio_class=pb.OptionalString(value="slow"))),
    linux(resources=pb.LinuxResources(rdt_class=pb.OptionalString(value="gold"))),
    linux(resources=pb.LinuxResources(pids=pb.LinuxPids(limit=5))),
]  # fmt: skip


@pytest.mark.parametrize("wanted", CONFLICTS, ids=lambda wanted: str(wanted.adjust).split("{")[0].strip())
def test_two_plugins_may_not_set_the_same(wanted: pb.CreateContainerResponse) -> None:
    result = adjustments()
    result.apply(A, wanted)
    assert result.total.ByteSize() > 0
    with pytest.raises(Refused, match=f"{A} and {B} both want to set"):
        result.apply(B, wanted)


def test_different_things_add_up_and_the_next_plugin_sees_them() -> None:
    result = adjustments(env=["A=1", "K=old"], annotations={"given": "1"})
    result.apply(A, answer(env=[pb.KeyValue(key="K", value="new")], annotations={"k": "a"}, mounts=[MOUNT]))
    seen = result.request.container
    assert list(seen.env) == ["A=1", "K=new"]
    assert dict(seen.annotations) == {"given": "1", "k": "a"}
    assert [mount.source for mount in seen.mounts] == ["/srv"]
    result.apply(B, answer(annotations={"l": "b"}, mounts=[pb.Mount(destination="/other")]))
    assert dict(result.total.annotations) == {"k": "a", "l": "b"}
    assert [mount.destination for mount in result.total.mounts] == ["/data", "/other"]


def test_who_removes_may_set_anew() -> None:
    result = adjustments()
    result.apply(A, answer(annotations={"k": "a"}, mounts=[MOUNT], env=[pb.KeyValue(key="K", value="a")]))
    other = pb.Mount(destination="/data", source="/b")
    result.apply(
        B,
        answer(
            annotations={"-k": "", "k": "b"}, mounts=[pb.Mount(destination="-/data"), other],
            env=[pb.KeyValue(key="-K"), pb.KeyValue(key="K", value="b")],
        ),
    )  # fmt: skip
    assert dict(result.total.annotations) == {"k": "b"}
    assert list(result.total.mounts) == [other]
    assert [(e.key, e.value) for e in result.total.env] == [("K", "b")]
    with pytest.raises(Refused, match=f"{B} and {A}"):
        result.apply(A, answer(annotations={"k": "again"}))


def test_a_bare_removal_reaches_the_total() -> None:
    result = adjustments(mounts=[MOUNT], env=["K=1"], annotations={"k": "1"})
    removals = answer(mounts=[pb.Mount(destination="-/data")], env=[pb.KeyValue(key="-K")], annotations={"-k": ""})
    result.apply(A, removals)
    assert [mount.destination for mount in result.total.mounts] == ["-/data"]
    assert dict(result.total.annotations) == {"-k": ""}
    seen = result.request.container
    assert (list(seen.mounts), list(seen.env), dict(seen.annotations)) == ([], [], {})
    result.apply(B, removals)  # twice is no contradiction


def test_arguments_are_replaced_by_who_says_so() -> None:
    result = adjustments(args=["old"])
    result.apply(A, answer(args=["a"]))
    result.apply(B, answer(args=["", "b", "c"]))
    assert list(result.total.args) == ["b", "c"] == list(result.request.container.args)


def test_hooks_add_up_and_have_many_owners() -> None:
    result = adjustments()
    for plugin in (A, B):
        result.apply(plugin, answer(hooks=pb.Hooks(create_runtime=[pb.Hook(path=f"/{plugin}")])))
    assert [hook.path for hook in result.total.hooks.create_runtime] == [f"/{A}", f"/{B}"]
    assert result.owners.of("c", pb.OciHooks) == f"{A},{B}"


def test_rdt_is_removed_and_set_anew() -> None:
    result = adjustments()
    result.apply(A, linux(rdt=pb.LinuxRdt(clos_id=pb.OptionalString(value="gold"))))
    result.apply(B, linux(rdt=pb.LinuxRdt(remove=True, clos_id=pb.OptionalString(value="silver"))))
    assert result.total.linux.rdt.clos_id.value == "silver"


def test_something_without_a_name_is_refused() -> None:
    for key in ("", "-"):
        with pytest.raises(Refused, match="without a name"):
            adjustments().apply(A, answer(annotations={key: "v"}))


def test_updates_of_others_are_merged_and_the_container_itself_is_not_one() -> None:
    result = adjustments()

    def update(container: str, **resources: Any) -> pb.CreateContainerResponse:
        change = pb.LinuxContainerUpdate(resources=pb.LinuxResources(**resources))
        return pb.CreateContainerResponse(update=[pb.ContainerUpdate(container_id=container, linux=change)])

    result.apply(A, update("other", cpu=pb.LinuxCPU(cpus="0")))
    result.apply(B, update("other", memory=pb.LinuxMemory(limit=number(5))))
    merged = result.updates.by_container["other"].linux.resources
    assert (merged.cpu.cpus, merged.memory.limit.value) == ("0", 5)
    with pytest.raises(Refused, match="both want"):
        result.apply(B, update("other", cpu=pb.LinuxCPU(cpus="1")))
    with pytest.raises(Refused, match="being created"):
        result.apply(A, update("c", cpu=pb.LinuxCPU(cpus="0")))


def test_an_update_that_may_fail_does_not_fail_for_a_contradiction() -> None:
    result = adjustments()
    change = pb.LinuxContainerUpdate(resources=pb.LinuxResources(cpu=pb.LinuxCPU(cpus="0")))
    for plugin in (A, B):
        update = pb.ContainerUpdate(container_id="other", linux=change, ignore_failure=True)
        result.apply(plugin, pb.CreateContainerResponse(update=[update]))
    assert result.updates.by_container["other"].ignore_failure


def test_evictions_say_who_wants_them() -> None:
    result = adjustments()
    eviction = pb.ContainerEviction(container_id="other", reason="too loud")
    result.apply(A, pb.CreateContainerResponse(evict=[eviction]))
    assert result.updates.evictions == {"other": f"{A}: too loud"}
