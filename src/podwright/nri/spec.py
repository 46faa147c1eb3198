"""A merged adjustment applied to an OCI specification: a new one, the old stays as it is. Pure.

Source for what replaces and what adds: containerd/nri, pkg/runtime-tools/generate. Beyond it, a resource limit of the
same type is replaced rather than given twice, and all memory limits count. I/O priority, scheduler, network devices
and memory policy are of younger versions of the OCI specification: a runtime that does not know them ignores them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from podwright.device.edits import Edits, apply_edits
from podwright.nri import nri_pb2 as pb
from podwright.nri.adjust import HOOKS
from podwright.nri.base import Refused
from podwright.nri.describe import HOOK_NAMES
from podwright.nri.owners import split_removal
from podwright.nri.resources import overlay, to_oci
from podwright.oci.runtime_spec import (
    Device,
    DeviceRule,
    Hook,
    IntelRdt,
    Linux,
    LinuxResources,
    Mount,
    Namespace,
    Process,
    Rlimit,
    Spec,
)
from podwright.runtime.base import COMPILED_SECCOMP_ANNOTATION
from podwright.security.limits import clamp_oom_score_adj, clamp_rlimit


def adjusted(spec: Spec, adjust: pb.ContainerAdjustment, *, oom_score_adj_min: int, may_raise_limits: bool) -> Spec:
    """`oom_score_adj_min`, `may_raise_limits`: what the daemon may give. Raises Refused for what can't be had."""
    annotations = _changed(spec.annotations, adjust.annotations)
    if adjust.linux.HasField("seccomp_policy"):
        annotations.pop(COMPILED_SECCOMP_ANNOTATION, None)  # it would win over the plugin's policy
    return msgspec.structs.replace(
        spec,
        annotations=annotations,
        mounts=_mounts(spec.mounts, adjust.mounts),
        hooks=_hooks(spec.hooks, adjust.hooks),
        process=_process(spec.process, adjust, oom_score_adj_min, may_raise_limits=may_raise_limits),
        linux=_linux(spec.linux, adjust),
    )


def with_devices(spec: Spec, edits: Edits) -> Spec:
    """What CDI devices bring, which the rest of an adjustment may then change."""
    copy = msgspec.structs.replace
    process = copy(spec.process, user=copy(spec.process.user))
    linux = copy(spec.linux, resources=copy(spec.linux.resources or LinuxResources()))
    result = copy(spec, process=process, linux=linux, mounts=list(spec.mounts))
    apply_edits(result, edits)
    return result


def _changed(given: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    removed = {key[1:] for key in wanted if key.startswith("-")}
    added = {key: value for key, value in wanted.items() if not key.startswith("-")}
    return {key: value for key, value in given.items() if key not in removed} | added


def _process(
    process: Process, adjust: pb.ContainerAdjustment, oom_score_adj_min: int, *, may_raise_limits: bool
) -> Process:
    linux = adjust.linux
    changes: dict[str, Any] = {"env": _environment(process.env, adjust.env)}
    if adjust.args:
        changes["args"] = list(adjust.args)
    if linux.HasField("oom_score_adj"):
        changes["oom_score_adj"] = clamp_oom_score_adj(linux.oom_score_adj.value, oom_score_adj_min)
    if adjust.rlimits:
        limits = {limit.type: limit for limit in process.rlimits}
        for wanted in adjust.rlimits:
            limit = Rlimit(type=wanted.type, hard=wanted.hard, soft=wanted.soft)
            limits[wanted.type] = clamp_rlimit(limit, may_raise=may_raise_limits)
        changes["rlimits"] = list(limits.values())
    if linux.HasField("io_priority"):
        priority = linux.io_priority
        changes["io_priority"] = {
            "class": pb.IOPrioClass.Name(getattr(priority, "class")), "priority": priority.priority
        }  # fmt: skip
    if linux.HasField("scheduler"):
        changes["scheduler"] = _scheduler(linux.scheduler)
    return msgspec.structs.replace(process, **changes)


def _environment(given: Iterable[str], wanted: Iterable[pb.KeyValue]) -> list[str]:
    """Changed variables keep their place, new ones follow."""
    left = {key: (entry, removed) for entry in wanted for key, removed in [split_removal(entry.key)]}
    result = []
    for variable in given:
        name = variable.partition("=")[0]
        if name not in left:
            result.append(variable)
            continue
        entry, removed = left.pop(name)
        if not removed:
            result.append(f"{entry.key}={entry.value}")
    return result + [f"{entry.key}={entry.value}" for entry, removed in left.values() if not removed]


def _scheduler(wanted: pb.LinuxScheduler) -> dict[str, Any]:
    numbers = {name: getattr(wanted, name) for name in ("nice", "priority", "runtime", "deadline", "period")}
    return {
        "policy": pb.LinuxSchedulerPolicy.Name(wanted.policy),
        "flags": [pb.LinuxSchedulerFlag.Name(flag) for flag in wanted.flags],
    } | {name: value for name, value in numbers.items() if value}


def _mounts(given: Iterable[Mount], wanted: Iterable[pb.Mount]) -> list[Mount]:
    """Parents before children, as they were planned; the order of the rest is kept."""
    changes = {posixpath.normpath(split_removal(mount.destination)[0]): mount for mount in wanted}
    kept = [mount for mount in given if mount.destination not in changes]
    added = [
        Mount(destination=destination, type=mount.type, source=mount.source, options=list(mount.options))
        for destination, mount in changes.items()
        if not mount.destination.startswith("-")
    ]
    for mount in added:
        if not mount.destination.startswith("/") or mount.destination == "/" or "\0" in mount.destination:
            raise Refused(f"an NRI plugin wants a mount on {mount.destination!r}: not an absolute path below the root")
    return sorted(kept + added, key=lambda mount: mount.destination.count("/")) if added else kept


def _hooks(given: Mapping[str, list[Hook]], wanted: pb.Hooks) -> dict[str, list[Hook]]:
    hooks = {name: list(entries) for name, entries in given.items()}
    for name in HOOKS:
        for hook in getattr(wanted, name):
            timeout = hook.timeout.value if hook.HasField("timeout") else None
            entry = Hook(path=hook.path, args=list(hook.args), env=list(hook.env), timeout=timeout)
            hooks.setdefault(HOOK_NAMES[name], []).append(entry)
    return hooks


def _linux(linux: Linux, adjust: pb.ContainerAdjustment) -> Linux:
    wanted = adjust.linux
    devices, rules = _devices(linux.devices, wanted.devices)
    resources = overlay(linux.resources or LinuxResources(), to_oci(wanted.resources))
    resources.devices = [*resources.devices, *rules]
    changes: dict[str, Any] = {
        "devices": devices,
        "resources": resources,
        "namespaces": _namespaces(linux.namespaces, wanted.namespaces),
        "sysctl": _changed(linux.sysctl, wanted.sysctl),
        "rootfs_propagation": _propagation(linux.rootfs_propagation, adjust.mounts),
        "net_devices": _net_devices(linux.net_devices, wanted.net_devices),
        "intel_rdt": _rdt(linux.intel_rdt, wanted),
    }
    if wanted.cgroups_path:
        changes["cgroups_path"] = wanted.cgroups_path
    if wanted.HasField("seccomp_policy"):
        changes["seccomp"] = _seccomp(wanted.seccomp_policy)
    if wanted.HasField("memory_policy"):
        policy = wanted.memory_policy
        changes["memory_policy"] = {
            "mode": pb.MpolMode.Name(policy.mode), "nodes": policy.nodes,
            "flags": [pb.MpolFlag.Name(flag) for flag in policy.flags],
        }  # fmt: skip
    return msgspec.structs.replace(linux, **changes)


def _devices(given: Iterable[Device], wanted: Iterable[pb.LinuxDevice]) -> tuple[list[Device], list[DeviceRule]]:
    """The nodes, and the cgroup's rules for the new ones: read and write, and mknod for block devices, as upstream."""
    devices = {device.path: device for device in given}
    rules = []
    for device in wanted:
        path, removed = split_removal(device.path)
        devices.pop(path, None)
        if removed:
            continue
        optional = {name: getattr(device, name).value for name in ("file_mode", "uid", "gid") if device.HasField(name)}
        devices[path] = Device(path=path, type=device.type, major=device.major, minor=device.minor, **optional)
        access = "rwm" if device.type == "b" else "rw"
        rules.append(
            DeviceRule(allow=True, access=access, type=device.type, major=device.major, minor=device.minor)
        )  # fmt: skip
    return list(devices.values()), rules


def _namespaces(given: Iterable[Namespace], wanted: Iterable[pb.LinuxNamespace]) -> list[Namespace]:
    namespaces = {namespace.type: namespace for namespace in given}
    for change in wanted:
        kind, removed = split_removal(change.type)
        namespaces.pop(kind, None)
        if not removed:
            namespaces[kind] = Namespace(type=kind, path=change.path)
    return list(namespaces.values())


def _propagation(given: str, mounts: Iterable[pb.Mount]) -> str:
    """A mount that is to propagate needs a root that does."""
    options = {option for mount in mounts if not mount.destination.startswith("-") for option in mount.options}
    if "rshared" in options or given == "rshared":
        return "rshared"
    return "rslave" if "rslave" in options else given


def _net_devices(given: dict[str, Any], wanted: Mapping[str, pb.LinuxNetDevice]) -> dict[str, Any]:
    kept = {name: device for name, device in given.items() if f"-{name}" not in wanted}
    return kept | {name: {"name": device.name} for name, device in wanted.items() if not name.startswith("-")}


def _rdt(given: IntelRdt | None, wanted: pb.LinuxContainerAdjustment) -> IntelRdt | None:
    """A class of RDT is the name of a CLOS (resctrl group)."""
    rdt, result = wanted.rdt, IntelRdt() if given is None else msgspec.structs.replace(given)
    if rdt.remove or wanted.resources.HasField("rdt_class"):
        result = IntelRdt(clos_id=wanted.resources.rdt_class.value)
    if rdt.HasField("clos_id"):
        result.clos_id = rdt.clos_id.value
    if rdt.HasField("schemata"):
        result.schemata = list(rdt.schemata.value)
    if rdt.HasField("enable_monitoring"):
        result.enable_monitoring = rdt.enable_monitoring.value
    return None if result == IntelRdt() else result


def _seccomp(policy: pb.LinuxSeccomp) -> msgspec.Raw:
    """OCI's linux.seccomp."""
    profile: dict[str, Any] = {"defaultAction": policy.default_action}
    if policy.HasField("default_errno"):
        profile["defaultErrnoRet"] = policy.default_errno.value
    for name, value in (
        ("architectures", list(policy.architectures)), ("flags", list(policy.flags)),
        ("listenerPath", policy.listener_path), ("listenerMetadata", policy.listener_metadata),
    ):  # fmt: skip
        if value:
            profile[name] = value
    profile["syscalls"] = [_syscall(syscall) for syscall in policy.syscalls]
    return msgspec.Raw(msgspec.json.encode(profile))


def _syscall(syscall: pb.LinuxSyscall) -> dict[str, Any]:
    entry: dict[str, Any] = {"names": list(syscall.names), "action": syscall.action}
    if syscall.HasField("errno_ret"):
        entry["errnoRet"] = syscall.errno_ret.value
    if syscall.args:
        entry["args"] = [
            {"index": arg.index, "value": arg.value, "valueTwo": arg.value_two, "op": arg.op} for arg in syscall.args
        ]
    return entry
