"""An OCI specification in NRI's words, for a plugin to read. Pure."""

from __future__ import annotations

from podwright.nri import nri_pb2 as pb
from podwright.nri.adjust import HOOKS
from podwright.nri.resources import from_oci
from podwright.oci.runtime_spec import Device, Hook, Mount, Spec
from podwright.runtime.base import COMPILED_SECCOMP_ANNOTATION

HOOK_NAMES = {name: name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:]) for name in HOOKS}
"""NRI's create_runtime is OCI's createRuntime."""


def describe(spec: Spec, into: pb.Container) -> None:
    """Fill in what the specification says of the container."""
    process, linux = spec.process, into.linux
    annotations = {k: v for k, v in spec.annotations.items() if k != COMPILED_SECCOMP_ANNOTATION}
    into.annotations.update(annotations)
    into.args[:] = process.args
    into.env[:] = process.env
    into.mounts.extend(_mount(mount) for mount in spec.mounts)
    into.rlimits.extend(pb.POSIXRlimit(type=r.type, hard=r.hard, soft=r.soft) for r in process.rlimits)
    gids = process.user.additional_gids
    into.user.CopyFrom(
        pb.User(uid=process.user.uid, gid=process.user.gid, additional_gids=gids if isinstance(gids, list) else [])
    )
    for name, oci_name in HOOK_NAMES.items():
        getattr(into.hooks, name).extend(_hook(hook) for hook in spec.hooks.get(oci_name, []))
    linux.namespaces.extend(pb.LinuxNamespace(type=n.type, path=n.path) for n in spec.linux.namespaces)
    linux.devices.extend(_device(device) for device in spec.linux.devices)
    linux.resources.CopyFrom(from_oci(spec.linux.resources))
    linux.cgroups_path = spec.linux.cgroups_path
    linux.sysctl.update(spec.linux.sysctl)
    if process.oom_score_adj is not None:
        linux.oom_score_adj.value = process.oom_score_adj


def _mount(mount: Mount) -> pb.Mount:
    return pb.Mount(destination=mount.destination, type=mount.type, source=mount.source, options=mount.options)


def _hook(hook: Hook) -> pb.Hook:
    message = pb.Hook(path=hook.path, args=hook.args, env=hook.env)
    if hook.timeout is not None:
        message.timeout.value = hook.timeout
    return message


def _device(device: Device) -> pb.LinuxDevice:
    message = pb.LinuxDevice(path=device.path, type=device.type, major=device.major, minor=device.minor)
    for name in ("file_mode", "uid", "gid"):
        if (value := getattr(device, name)) is not None:
            getattr(message, name).value = value
    return message
