"""Bring a pod up: images, volumes, sandbox, init containers one after another, containers. All of it or nothing."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.cli.client import QUICK_S, SLOW_S, Client
from podwright.cli.logs import LogFile
from podwright.cli.manifest.cri_container import container_config
from podwright.cli.manifest.cri_pod import sandbox_config
from podwright.cli.manifest.environment import environment
from podwright.cli.manifest.facts import Host, Instance
from podwright.cli.manifest.model import ConfigMaps, Container, Pod
from podwright.cli.output import print_line
from podwright.cli.playing import find
from podwright.cli.playing.directory import PodDirectory
from podwright.cli.playing.down import take_down
from podwright.cli.playing.images import obtain
from podwright.cli.playing.volumes import resolve_sub_path
from podwright.cli.stats import pause
from podwright.criapi import api_pb2 as pb

_POLL_S = 0.05
_LAST_WORDS = 10
_TERMINATION_MESSAGE_LIMIT = 4096


@dataclasses.dataclass(frozen=True)
class Play:
    """One pod to bring up, with all that it takes."""

    pod: Pod
    config_maps: ConfigMaps
    manifest_hash: str
    host: Host
    directory: PodDirectory


def bring_up(client: Client, play: Play) -> tuple[str, ...]:
    """Bring the pod up and return its addresses. One that runs already is left alone. What fails is taken down."""
    pod = play.pod
    for sandbox in find.sandboxes(client, pod):
        if sandbox.state == pb.SANDBOX_READY:
            find.check_runs(client, pod, sandbox, play.manifest_hash)
            print_line(f"pod {pod.full_name} already runs")
            return find.addresses(client, sandbox.id)
    instance = play.directory.instance(pod, pod.uid or str(uuid.uuid4()))
    check(play, instance)
    images = {container.name: obtain(client, container) for container in pod.all_containers}
    translate_all(play, instance, images)
    if take_down(client, pod, play.directory):
        print_line(f"pod {pod.full_name}: removed what was left of an earlier play")
    try:
        return make(client, play, instance, images)
    except BaseException:
        take_down(client, pod, play.directory)
        raise


def check(play: Play, instance: Instance) -> None:
    """Translate everything with a made-up image, so that what is wrong in the manifest shows before any effect."""
    anything = {c.name: pb.Image(id="unknown", uid=pb.Int64Value(value=1)) for c in play.pod.all_containers}
    translate_all(play, instance, anything)


def translate_all(play: Play, instance: Instance, images: Mapping[str, pb.Image]) -> None:
    """Translate all containers and throw the result away: what counts is that nothing is raised."""
    for container in play.pod.all_containers:
        variables = environment(play.pod, container, play.config_maps, play.host, instance)
        container_config(play.pod, container, variables, images[container.name], play.host, instance)


def make(client: Client, play: Play, instance: Instance, images: Mapping[str, pb.Image]) -> tuple[str, ...]:
    """The effects, in order."""
    pod = play.pod
    play.directory.create(pod, instance, play.config_maps, play.host)
    config = sandbox_config(pod, play.host, instance, play.manifest_hash)
    request = pb.RunPodSandboxRequest(config=config, runtime_handler=pod.runtime_class)
    sandbox_id = client.runtime.RunPodSandbox(request, timeout=SLOW_S).pod_sandbox_id
    instance = dataclasses.replace(instance, ips=find.addresses(client, sandbox_id))
    play.directory.write_hosts(pod, play.host, instance)
    print_line(f"pod {pod.full_name}: sandbox {sandbox_id[:12]} is ready")
    for container in pod.all_containers:
        variables = environment(pod, container, play.config_maps, play.host, instance)
        made = container_config(pod, container, variables, images[container.name], play.host, instance)
        settle_sub_paths(container, made, instance, variables)
        container_id = start(client, sandbox_id, made, config)
        if container in pod.init_containers and not container.sidecar:
            wait_for_success(client, container, container_id, instance)
            print_line(f"pod {pod.full_name}: init container {container.name} has done its work")
        else:
            print_line(f"pod {pod.full_name}: container {container.name} runs")
    return instance.ips


def settle_sub_paths(
    container: Container, made: pb.ContainerConfig, instance: Instance, variables: dict[str, str]
) -> None:
    """Put real paths for sub paths: nothing in a volume may lead a mount out of it."""
    for mount, message in zip(container.mounts, made.mounts, strict=False):
        if mount.sub_path or mount.sub_path_expr:
            message.host_path = resolve_sub_path(mount, instance.volumes[mount.volume], variables)


def start(client: Client, sandbox_id: str, made: pb.ContainerConfig, config: pb.PodSandboxConfig) -> str:
    """Create a container and start it; returns its id."""
    request = pb.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=made, sandbox_config=config)
    container_id = client.runtime.CreateContainer(request, timeout=SLOW_S).container_id
    client.runtime.StartContainer(pb.StartContainerRequest(container_id=container_id), timeout=SLOW_S)
    return container_id


def wait_for_success(client: Client, container: Container, container_id: str, instance: Instance) -> None:
    """Wait until an init container has ended. Raises FailedPrecondition with its last words unless with success."""
    while True:
        request = pb.ContainerStatusRequest(container_id=container_id)
        status = client.runtime.ContainerStatus(request, timeout=QUICK_S).status
        if status.state not in (pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING):
            break
        pause(_POLL_S)
    if status.exit_code == 0 and status.reason != "OOMKilled":
        return
    words = last_words(instance.termination_logs[container.name], Path(status.log_path))
    reason = f" ({status.reason})" if status.reason not in ("", "Error") else ""
    raise FailedPrecondition(
        f"init container {container.name} ended with exit code {status.exit_code}{reason}"
        + (f"; its last words:\n{words}" if words else "")
    )


def last_words(termination_log: Path, log: Path) -> str:
    """The termination message, or the end of the log."""
    message = termination_log.read_bytes()[:_TERMINATION_MESSAGE_LIMIT]
    if not message and log.is_file():
        file = LogFile(log)
        try:
            message = b"\n".join(entry.content for entry in file.last_entries(_LAST_WORDS))
        finally:
            file.close()
    return "\n".join(f"    {line}" for line in message.decode(errors="replace").splitlines())
