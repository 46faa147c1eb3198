"""From a container of a manifest to ContainerConfig."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.cri_pod import CONTAINER_NAME, pod_labels
from podwright.cli.manifest.cri_resources import container_resources
from podwright.cli.manifest.cri_security import container_security
from podwright.cli.manifest.environment import encode
from podwright.cli.manifest.expansion import expand
from podwright.cli.manifest.facts import Host, Instance
from podwright.cli.manifest.model import Container, Pod, VolumeMount
from podwright.criapi import api_pb2 as pb

_PROPAGATIONS = {
    "None": pb.PROPAGATION_PRIVATE,
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}


def container_config(
    pod: Pod, container: Container, variables: Mapping[str, str], image: pb.Image, host: Host, instance: Instance
) -> pb.ContainerConfig:
    """What CreateContainer needs to know. `image` is what the runtime has for the container's image."""
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=container.name),
        image=pb.ImageSpec(image=image.id, user_specified_image=container.image),
        command=[expand(word, variables) for word in container.command],
        args=[expand(word, variables) for word in container.args],
        working_dir=container.working_dir,
        envs=[pb.KeyValue(key=name, value=encode(value)) for name, value in variables.items()],
        mounts=[*volume_mounts(container, variables, instance), *own_mounts(container, instance)],
        labels={**pod_labels(pod, instance), CONTAINER_NAME: container.name},
        annotations={"io.kubernetes.container.terminationMessagePath": container.termination_message_path},
        log_path=f"{container.name}/0.log",
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        linux=pb.LinuxContainerConfig(
            resources=container_resources(pod, container, host),
            security_context=container_security(pod, container, image),
        ),
    )


def volume_mounts(container: Container, variables: Mapping[str, str], instance: Instance) -> list[pb.Mount]:
    """The mounts that the manifest asks for."""
    return [
        pb.Mount(
            container_path=mount.path,
            host_path=posixpath.join(instance.volumes[mount.volume], sub_path(mount, variables)).rstrip("/") or "/",
            readonly=mount.read_only,
            recursive_read_only=mount.recursive_read_only,
            propagation=_PROPAGATIONS[mount.propagation],
        )
        for mount in container.mounts
    ]


def sub_path(mount: VolumeMount, variables: Mapping[str, str]) -> str:
    """The path within the volume; empty for the whole of it. Raises InvalidArgument if it would lead out."""
    path = expand(mount.sub_path_expr, variables) if mount.sub_path_expr else mount.sub_path
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidArgument(f"{path!r} leads out of the volume", field=f"{mount.where}.subPathExpr")
    return posixpath.normpath(path) if path else ""


def own_mounts(container: Container, instance: Instance) -> list[pb.Mount]:
    """/etc/hosts and the file for last words, as the kubelet mounts them, unless a volume is mounted there."""
    taken = {posixpath.normpath(mount.path) for mount in container.mounts}
    wanted = {
        "/etc/hosts": instance.hosts,
        container.termination_message_path: instance.termination_logs[container.name],
    }
    return [
        pb.Mount(container_path=inside, host_path=str(outside))
        for inside, outside in wanted.items()
        if inside not in taken
    ]
