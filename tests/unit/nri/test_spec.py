"""Adjustments applied to OCI specifications, and specifications described to plugins."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from podwright.device.edits import Edits
from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.describe import describe
from podwright.nri.spec import adjusted, with_devices
from podwright.oci.runtime_spec import (
    Cpu,
    Device,
    DeviceRule,
    Hook,
    HugepageLimit,
    IntelRdt,
    Linux,
    LinuxResources,
    Memory,
    Mount,
    Namespace,
    Pids,
    Process,
    Rlimit,
    Root,
    Spec,
    User,
)
from podwright.runtime.base import COMPILED_SECCOMP_ANNOTATION


def spec(**linux: Any) -> Spec:
    return Spec(
        process=Process(
            args=["sh"], cwd="/", user=User(uid=3, gid=4, additional_gids=[5]), env=["PATH=/bin", "A=1"],
            oom_score_adj=100, rlimits=[Rlimit(type="RLIMIT_NOFILE", hard=10, soft=5)],
        ),
        root=Root(path="/r"),
        mounts=[Mount(destination="/proc", type="proc"), Mount(destination="/data", type="bind", source="/old")],
        annotations={"given": "1", COMPILED_SECCOMP_ANNOTATION: "bpf"},
        hooks={"poststop": [Hook(path="/old", timeout=3)]},
        linux=Linux(**linux),
    )  # fmt: skip


def apply(given: Spec, **adjust: Any) -> dict[str, Any]:
    before = msgspec.json.encode(given)
    result = adjusted(given, pb.ContainerAdjustment(**adjust), oom_score_adj_min=-1000, may_raise_limits=True)
    assert msgspec.json.encode(given) == before, "the old specification must stay as it is"
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(result))
    return decoded


def linux(given: Spec, **adjust: Any) -> dict[str, Any]:
    changed = apply(given, linux=pb.LinuxContainerAdjustment(**adjust))["linux"]
    assert isinstance(changed, dict)
    return changed


def test_annotations_environment_and_arguments() -> None:
    changed = apply(
        spec(), annotations={"-given": "", "new": "2"}, args=["ls", "-l"],
        env=[pb.KeyValue(key="A", value="2"), pb.KeyValue(key="-PATH"), pb.KeyValue(key="B", value="x=y")],
    )  # fmt: skip
    assert changed["annotations"] == {"new": "2", COMPILED_SECCOMP_ANNOTATION: "bpf"}
    assert changed["process"]["env"] == ["A=2", "B=x=y"]
    assert changed["process"]["args"] == ["ls", "-l"]


def test_mounts_are_replaced_removed_and_sorted() -> None:
    changed = apply(
        spec(),
        mounts=[
            pb.Mount(destination="/data/deep", type="bind", source="/d", options=["rslave"]),
            pb.Mount(destination="/data", type="bind", source="/new"), pb.Mount(destination="-/proc"),
        ],
    )  # fmt: skip
    assert [(m["destination"], m.get("source")) for m in changed["mounts"]] == [("/data", "/new"), ("/data/deep", "/d")]
    assert changed["linux"]["rootfsPropagation"] == "rslave"


@pytest.mark.parametrize("destination", ["/", "relative", "/a\0b"])
def test_a_mount_goes_to_an_absolute_path(destination: str) -> None:
    with pytest.raises(Refused, match="absolute path"):
        apply(spec(), mounts=[pb.Mount(destination=destination)])


def test_hooks_are_added() -> None:
    hooks = pb.Hooks(
        poststop=[pb.Hook(path="/new", args=["x"], timeout=pb.OptionalInt(value=9))],
        create_runtime=[pb.Hook(path="/c")],
    )
    changed = apply(spec(), hooks=hooks)["hooks"]
    assert changed["poststop"] == [
        {"path": "/old", "timeout": 3}, {"path": "/new", "args": ["x"], "timeout": 9}
    ]  # fmt: skip
    assert [hook["path"] for hook in changed["createRuntime"]] == ["/c"]


def test_limits_of_the_process() -> None:
    changed = apply(
        spec(),
        rlimits=[
            pb.POSIXRlimit(type="RLIMIT_NOFILE", hard=20, soft=20), pb.POSIXRlimit(type="RLIMIT_CORE", hard=0, soft=0)
        ],
        linux=pb.LinuxContainerAdjustment(
            oom_score_adj=pb.OptionalInt(value=-5),
            io_priority=pb.LinuxIOPriority(**{"class": pb.IOPRIO_CLASS_IDLE}, priority=2),
            scheduler=pb.LinuxScheduler(policy=pb.SCHED_BATCH, nice=4, flags=[pb.SCHED_FLAG_RESET_ON_FORK]),
        ),
    )["process"]  # fmt: skip
    assert changed["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "hard": 20, "soft": 20}, {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}
    ]  # fmt: skip
    assert changed["oomScoreAdj"] == -5
    assert changed["ioPriority"] == {"class": "IOPRIO_CLASS_IDLE", "priority": 2}
    assert changed["scheduler"] == {"policy": "SCHED_BATCH", "nice": 4, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}


def test_a_daemon_that_may_not_raises_nothing() -> None:
    adjust = pb.ContainerAdjustment(linux=pb.LinuxContainerAdjustment(oom_score_adj=pb.OptionalInt(value=-900)))
    changed = adjusted(spec(), adjust, oom_score_adj_min=0, may_raise_limits=False)
    assert changed.process.oom_score_adj == 0


def test_resources_are_laid_over_those_of_the_pod() -> None:
    given = LinuxResources(
        memory=Memory(limit=100, swap=100), cpu=Cpu(shares=2, cpus="0-3"), unified={"memory.low": "1"},
        hugepage_limits=[HugepageLimit(page_size="2MB", limit=0)], devices=[DeviceRule(allow=False, access="rwm")],
    )  # fmt: skip
    wanted = pb.LinuxResources(
        memory=pb.LinuxMemory(limit=pb.OptionalInt64(value=200), swappiness=pb.OptionalUInt64(value=10)),
        cpu=pb.LinuxCPU(cpus="1", quota=pb.OptionalInt64(value=-1), realtime_period=pb.OptionalUInt64(value=9)),
        unified={"memory.high": "2"}, pids=pb.LinuxPids(limit=7),
        hugepage_limits=[pb.HugepageLimit(page_size="2MB", limit=4)],
        devices=[pb.LinuxDeviceCgroup(allow=True, type="c", major=pb.OptionalInt64(value=0), access="r")],
    )  # fmt: skip
    assert linux(spec(resources=given), resources=wanted)["resources"] == {
        "memory": {"limit": 200, "swap": 200, "swappiness": 10},
        "cpu": {"shares": 2, "cpus": "1", "quota": -1, "realtimePeriod": 9},
        "unified": {"memory.low": "1", "memory.high": "2"}, "pids": {"limit": 7},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
        "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "access": "r", "type": "c", "major": 0}],
    }  # fmt: skip


def test_devices_come_with_their_rule() -> None:
    given = spec(devices=[Device(path="/dev/old", type="c", major=1, minor=3)])
    changed = linux(
        given,
        devices=[
            pb.LinuxDevice(path="-/dev/old"),
            pb.LinuxDevice(path="/dev/b", type="b", major=7, minor=8, file_mode=pb.OptionalFileMode(value=0o600)),
        ],
    )
    assert changed["devices"] == [{"path": "/dev/b", "type": "b", "major": 7, "minor": 8, "fileMode": 0o600}]
    assert changed["resources"]["devices"] == [{"allow": True, "access": "rwm", "type": "b", "major": 7, "minor": 8}]


def test_namespaces_sysctls_and_the_cgroup() -> None:
    given = spec(
        namespaces=[Namespace(type="network", path="/n"), Namespace(type="ipc")], sysctl={"a": "1"}, cgroups_path="/old"
    )
    changed = linux(
        given, cgroups_path="/new", sysctl={"-a": "", "b": "2"},
        namespaces=[pb.LinuxNamespace(type="-ipc"), pb.LinuxNamespace(type="network", path="/m")],
    )  # fmt: skip
    assert changed["namespaces"] == [{"type": "network", "path": "/m"}]
    assert (changed["sysctl"], changed["cgroupsPath"]) == ({"b": "2"}, "/new")


def test_a_seccomp_policy_replaces_the_compiled_filter() -> None:
    policy = pb.LinuxSeccomp(
        default_action="SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86_64"],
        syscalls=[
            pb.LinuxSyscall(
                names=["reboot"], action="SCMP_ACT_ERRNO", errno_ret=pb.OptionalUInt32(value=1),
                args=[pb.LinuxSeccompArg(index=1, value=2, op="SCMP_CMP_EQ")],
            )
        ],
    )  # fmt: skip
    changed = apply(spec(), linux=pb.LinuxContainerAdjustment(seccomp_policy=policy))
    assert changed["linux"]["seccomp"] == {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {
                "names": ["reboot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                "args": [{"index": 1, "value": 2, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
            }
        ],
    }  # fmt: skip
    assert COMPILED_SECCOMP_ANNOTATION not in changed["annotations"]


def test_rdt_network_devices_and_memory_policy() -> None:
    changed = linux(
        spec(), rdt=pb.LinuxRdt(schemata=pb.OptionalRepeatedString(value=["L3:0=f"])),
        resources=pb.LinuxResources(rdt_class=pb.OptionalString(value="gold")),
        net_devices={"eth7": pb.LinuxNetDevice(name="data")},
        memory_policy=pb.LinuxMemoryPolicy(mode=pb.MPOL_BIND, nodes="0", flags=[pb.MPOL_F_STATIC_NODES]),
    )  # fmt: skip
    assert changed["intelRdt"] == {"closID": "gold", "schemata": ["L3:0=f"]}
    assert changed["netDevices"] == {"eth7": {"name": "data"}}
    assert changed["memoryPolicy"] == {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}


def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(Refused, match="block I/O class 'slow'"):
        linux(spec(), resources=pb.LinuxResources(blockio_class=pb.OptionalString(value="slow")))


def test_a_class_of_rdt_is_removed() -> None:
    given = spec(intel_rdt=IntelRdt(clos_id="gold"))
    assert "intelRdt" not in linux(given, rdt=pb.LinuxRdt(remove=True))
    assert "intelRdt" not in linux(given, resources=pb.LinuxResources(rdt_class=pb.OptionalString()))
    assert linux(given, cgroups_path="/x")["intelRdt"] == {"closID": "gold"}


def test_devices_by_cdi_leave_the_old_specification_alone() -> None:
    given = spec()
    before = msgspec.json.encode(given)
    node = Device(path="/dev/cdi", type="c", major=1, minor=3)
    edits = Edits(env=("CDI=1",), devices=((node, "rw"),), mounts=(Mount(destination="/cdi"),), additional_gids=(9,))
    changed = with_devices(given, edits)
    assert msgspec.json.encode(given) == before
    assert "CDI=1" in changed.process.env
    assert [device.path for device in changed.linux.devices] == ["/dev/cdi"]


def test_a_plugin_sees_the_specification() -> None:
    given = spec(
        namespaces=[Namespace(type="network", path="/n")], cgroups_path="/c", sysctl={"a": "1"},
        devices=[Device(path="/dev/x", type="c", major=1, minor=3, uid=0)],
        resources=LinuxResources(memory=Memory(limit=5), cpu=Cpu(cpus="0", quota=-1), pids=Pids(limit=3)),
    )  # fmt: skip
    seen = pb.Container()
    describe(given, seen)
    assert (list(seen.args), list(seen.env), dict(seen.annotations)) == (["sh"], ["PATH=/bin", "A=1"], {"given": "1"})
    assert (seen.user.uid, seen.user.gid, list(seen.user.additional_gids)) == (3, 4, [5])
    assert [mount.destination for mount in seen.mounts] == ["/proc", "/data"]
    assert [(hook.path, hook.timeout.value) for hook in seen.hooks.poststop] == [("/old", 3)]
    assert (seen.linux.oom_score_adj.value, seen.linux.cgroups_path) == (100, "/c")
    assert [(n.type, n.path) for n in seen.linux.namespaces] == [("network", "/n")]
    device = seen.linux.devices[0]
    assert (device.path, device.HasField("uid"), device.HasField("gid")) == ("/dev/x", True, False)
    resources = seen.linux.resources
    assert (resources.memory.limit.value, resources.memory.HasField("swap")) == (5, False)
    assert (resources.cpu.quota.value, resources.cpu.cpus, resources.pids.limit) == (-1, "0", 3)
