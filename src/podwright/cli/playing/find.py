"""What runs already of a pod that is to be played, or taken down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podwright.base.errors import FailedPrecondition
from podwright.cli.client import QUICK_S, Client
from podwright.cli.lookup import newest
from podwright.cli.manifest import cri_pod
from podwright.cli.manifest.model import Pod
from podwright.criapi import api_pb2 as pb


def sandboxes(client: Client, pod: Pod) -> Sequence[pb.PodSandbox]:
    """Sandboxes of that name and namespace that were played. Raises FailedPrecondition for one that wasn't."""
    selector = {cri_pod.POD_NAME: pod.name, cri_pod.POD_NAMESPACE: pod.namespace}
    request = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=selector))
    found = client.runtime.ListPodSandbox(request, timeout=QUICK_S).items
    for sandbox in found:
        if cri_pod.PLAYED not in sandbox.labels:
            raise FailedPrecondition(
                f"pod {pod.full_name} exists, but wasn't played (id {sandbox.id[:12]}); play it under another name"
            )
    return sorted(found, key=lambda sandbox: -sandbox.created_at)


def containers(client: Client, sandbox_id: str) -> list[pb.Container]:
    """The containers of a sandbox, newest first."""
    request = pb.ListContainersRequest(filter=pb.ContainerFilter(pod_sandbox_id=sandbox_id))
    found = client.runtime.ListContainers(request, timeout=QUICK_S).containers
    return sorted(found, key=lambda container: -container.created_at)


def addresses(client: Client, sandbox_id: str) -> tuple[str, ...]:
    """The sandbox's addresses; none on the host's network."""
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
    network = client.runtime.PodSandboxStatus(request, timeout=QUICK_S).status.network
    return tuple(ip for ip in (network.ip, *(other.ip for other in network.additional_ips)) if ip)


def check_runs(client: Client, pod: Pod, sandbox: pb.PodSandbox, manifest_hash: str) -> None:
    """Raise FailedPrecondition unless the sandbox is this pod in its whole."""
    advice = "take it down with --down first"
    if sandbox.annotations.get(cri_pod.MANIFEST_HASH) != manifest_hash:
        raise FailedPrecondition(f"pod {pod.full_name} runs from another version of its manifest; {advice}")
    found = newest(containers(client, sandbox.id), lambda container: container.metadata.name)
    states = {container.metadata.name: container.state for container in found}
    problems = list(wrong(pod, states))
    if problems:
        raise FailedPrecondition(f"pod {pod.full_name} is there, but {'; '.join(problems)}; {advice}")


def wrong(pod: Pod, states: dict[str, pb.ContainerState.ValueType]) -> Iterator[str]:
    """What is not as it was left by a play. Init containers may have been collected; the others must be there."""
    for container in pod.all_containers:
        state = states.get(container.name)
        if container in pod.init_containers and not container.sidecar:
            continue
        if state is None:
            yield f"container {container.name} is missing"
        elif state != pb.CONTAINER_RUNNING:
            word = pb.ContainerState.Name(state).removeprefix("CONTAINER_").lower()
            yield f"container {container.name} is {word}"
