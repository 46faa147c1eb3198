"""From the domain to CRI messages. Labels and annotations leave exactly as they came; times are nanoseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict

from podwright.container.model import Container
from podwright.container.spec.signals import signal_of_cri
from podwright.criapi import api_pb2 as pb
from podwright.image.fsinfo import FsInfo
from podwright.image.model import ImageRecord
from podwright.runtime.base import Features
from podwright.sandbox.model import Sandbox
from podwright.state.layout import Layout


def sandbox_state(sandbox: Sandbox) -> pb.PodSandboxState.ValueType:
    return pb.SANDBOX_READY if sandbox.ready else pb.SANDBOX_NOTREADY


def sandbox_item(sandbox: Sandbox) -> pb.PodSandbox:
    """An item of ListPodSandbox."""
    config = sandbox.config
    return pb.PodSandbox(
        id=sandbox.id, metadata=config.metadata, state=sandbox_state(sandbox), created_at=sandbox.record.created_at,
        labels=config.labels, annotations=config.annotations, runtime_handler=sandbox.record.handler,
    )  # fmt: skip


def sandbox_status(sandbox: Sandbox) -> pb.PodSandboxStatus:
    """PodSandboxStatus. The addresses stay visible after a stop; the kubelet compares network modes and IPs."""
    config = sandbox.config
    first, *others = sandbox.ips or ("",)
    return pb.PodSandboxStatus(
        id=sandbox.id, metadata=config.metadata, state=sandbox_state(sandbox), created_at=sandbox.record.created_at,
        network=pb.PodSandboxNetworkStatus(ip=first, additional_ips=[pb.PodIP(ip=ip) for ip in others]),
        linux=pb.LinuxPodSandboxStatus(namespaces=pb.Namespace(options=sandbox.namespace_options)),
        labels=config.labels, annotations=config.annotations, runtime_handler=sandbox.record.handler,
    )  # fmt: skip


def sandbox_info(sandbox: Sandbox, layout: Layout) -> dict[str, str]:
    """What `crictl inspectp` shows beside the status."""
    record = sandbox.record
    facts = {
        "runtimeHandler": record.handler,
        "cgroupParent": record.cgroup_parent,
        "directory": str(layout.sandbox(sandbox.id)),
        "namespaces": {kind: str(layout.namespace(sandbox.id, kind)) for kind in record.pinned},
        "ips": list(sandbox.ips),
        "endedBecause": record.ended_because,
        "overhead": MessageToDict(sandbox.overhead),
        "resources": MessageToDict(sandbox.resources),
    }
    return {"info": json.dumps(facts)}


def container_item(container: Container) -> pb.Container:
    """An item of ListContainers."""
    config, record = container.config, container.record
    return pb.Container(
        id=container.id, pod_sandbox_id=record.sandbox_id, metadata=config.metadata, image=config.image,
        image_ref=record.image_ref, state=container.state, created_at=record.created_at or record.reserved_at,
        labels=config.labels, annotations=config.annotations, image_id=record.image_id,
    )  # fmt: skip


def container_status(container: Container) -> pb.ContainerStatus:
    """ContainerStatus"""
    config, record = container.config, container.record
    named = pb.ImageSpec(image=user_image(config), annotations=config.image.annotations)
    return pb.ContainerStatus(
        id=container.id, metadata=config.metadata, state=container.state,
        created_at=record.created_at or record.reserved_at, started_at=record.started_at,
        finished_at=record.finished_at, exit_code=record.exit_code, image=named, image_ref=record.image_ref,
        image_id=record.image_id, reason=record.reason, message=record.message, labels=config.labels,
        annotations=config.annotations, mounts=container_mounts(container), log_path=record.log_path,
        resources=pb.ContainerResources(linux=container.resources), stop_signal=signal_of_cri(record.stop_signal),
        user=pb.ContainerUser(
            linux=pb.LinuxContainerUser(
                uid=record.user.uid, gid=record.user.gid, supplemental_groups=record.user.supplemental_groups
            )
        ),
    )  # fmt: skip


def container_mounts(container: Container) -> Sequence[pb.Mount]:
    """The request's mounts. Images by id and digest: the kubelet keeps an image only if the id equals Image.id, and
    shows the digest as the volume's imageRef (KEP-5365)."""
    mounts = list(container.config.mounts)
    for volume in container.record.image_volumes:
        mount = pb.Mount()
        mount.CopyFrom(mounts[volume.at])
        mount.image.image = mount.image.image_ref = volume.image_id
        mounts[volume.at] = mount
    return mounts


def user_image(config: pb.ContainerConfig) -> str:
    """The name people know the image by, which the kubelet copies to the pod's status."""
    return config.image.user_specified_image or config.image.image


def container_info(container: Container, layout: Layout) -> dict[str, str]:
    """What `crictl inspect` shows beside the status."""
    record = container.record
    bundle = layout.bundle(container.id)
    facts: dict[str, object] = {
        "sandboxID": record.sandbox_id,
        "pid": record.pid,
        "monitorPid": record.monitor_pid,
        "runtimeHandler": record.handler,
        "cgroupsPath": record.cgroups_path,
        "bundle": str(bundle),
        "rootfs": str(layout.rootfs(container.id)),
        "updateAnnotations": record.update_annotations,
    }
    spec = bundle / "config.json"
    if spec.exists():
        facts["runtimeSpec"] = json.loads(spec.read_bytes())
    return {"info": json.dumps(facts)}


def image(record: ImageRecord) -> pb.Image:
    """An image of ListImages and ImageStatus. A numeric USER is `uid`, a named one `username`; the group is dropped."""
    uid, username = record.user_identity()
    return pb.Image(
        id=record.id, repo_tags=record.repo_tags, repo_digests=record.repo_digests, size=max(record.size_bytes, 1),
        uid=None if uid is None else pb.Int64Value(value=uid), username=username, pinned=record.pinned,
        spec=pb.ImageSpec(image=record.id),
    )  # fmt: skip


def filesystem_usage(info: FsInfo) -> pb.FilesystemUsage:
    return pb.FilesystemUsage(
        timestamp=info.timestamp_ns, fs_id=pb.FilesystemIdentifier(mountpoint=str(info.mountpoint)),
        used_bytes=pb.UInt64Value(value=info.used_bytes),
        inodes_used=None if info.inodes_used is None else pb.UInt64Value(value=info.inodes_used),
    )  # fmt: skip


def runtime_handler(name: str, features: Features) -> pb.RuntimeHandler:
    """An item of Status.runtime_handlers; the empty name is the default handler."""
    return pb.RuntimeHandler(
        name=name,
        features=pb.RuntimeHandlerFeatures(
            recursive_read_only_mounts=features.recursive_read_only_mounts, user_namespaces=features.user_namespaces
        ),
    )


def status_conditions(
    *, runtime_problem: str, network_ready: bool, reason: str, message: str
) -> Sequence[pb.RuntimeCondition]:
    """RuntimeReady and NetworkReady, the two that the kubelet demands."""
    return [
        pb.RuntimeCondition(
            type="RuntimeReady",
            status=not runtime_problem,
            message=runtime_problem,
            reason="RuntimeNotReady" if runtime_problem else "",
        ),
        pb.RuntimeCondition(type="NetworkReady", status=network_ready, reason=reason, message=message),
    ]
