"""From what people type to one container, pod or image: a whole id, a unique prefix of one, or a name.

Names first: a container `web`, or `hello/web` when more than one pod has a web; a pod `hello`, or `default/hello`.
Of several attempts at the same thing the newest is meant. What remains ambiguous is an error that lists the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from podwright.base.errors import InvalidArgument, NotFound
from podwright.cli.client import QUICK_S, Client
from podwright.cli.output import short_id
from podwright.criapi import api_pb2 as pb

POD_NAME_LABEL = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace"

T = TypeVar("T", pb.Container, pb.PodSandbox, pb.Image)


def list_pods(client: Client) -> Sequence[pb.PodSandbox]:
    """All pods, newest first."""
    items = client.runtime.ListPodSandbox(pb.ListPodSandboxRequest(), timeout=QUICK_S).items
    return sorted(items, key=lambda pod: -pod.created_at)


def list_containers(client: Client) -> Sequence[pb.Container]:
    """All containers, newest first."""
    items = client.runtime.ListContainers(pb.ListContainersRequest(), timeout=QUICK_S).containers
    return sorted(items, key=lambda container: -container.created_at)


def find_pod(client: Client, text: str) -> pb.PodSandbox:
    """The pod that `text` means. Raises NotFound, InvalidArgument when several are meant."""
    found = match_pod(list_pods(client), text)
    if found is None:
        raise NotFound(f"no pod {text!r}; `podwright pods` lists them")
    return found


def find_container(client: Client, text: str) -> pb.Container:
    """The container that `text` means; a pod's name means its only container. Raises as find_pod."""
    containers, pods = list_containers(client), list_pods(client)
    found = match_container(containers, pods, text)
    if found is not None:
        return found
    pod = match_pod(pods, text)
    if pod is None:
        raise NotFound(f"no container {text!r}; `podwright ps -a` lists them")
    return only_container([c for c in containers if c.pod_sandbox_id == pod.id], pod)


def only_container(containers: Sequence[pb.Container], pod: pb.PodSandbox) -> pb.Container:
    """The container meant by naming just its pod. Raises NotFound, InvalidArgument."""
    running = [c for c in containers if c.state == pb.CONTAINER_RUNNING]
    chosen = newest(running or containers, lambda c: c.metadata.name)
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise NotFound(f"pod {pod.metadata.name} has no containers")
    names = ", ".join(f"{pod.metadata.name}/{c.metadata.name}" for c in chosen)
    raise InvalidArgument(f"pod {pod.metadata.name} has several containers; name one of {names}")


def match_pod(pods: Sequence[pb.PodSandbox], text: str) -> pb.PodSandbox | None:
    """The pod that `text` means among `pods` (newest first)."""

    def full_name(pod: pb.PodSandbox) -> str:
        return f"{pod.metadata.namespace}/{pod.metadata.name}"

    named = [pod for pod in pods if text in (pod.metadata.name, full_name(pod))]
    return choose(pods, newest(named, full_name), text, full_name)


def match_container(
    containers: Sequence[pb.Container], pods: Sequence[pb.PodSandbox], text: str
) -> pb.Container | None:
    """The container that `text` means among `containers` (newest first)."""
    pod_names = {pod.id: pod.metadata.name for pod in pods}

    def full_name(container: pb.Container) -> str:
        return f"{pod_names.get(container.pod_sandbox_id, '')}/{container.metadata.name}"

    named = [c for c in containers if text in (c.metadata.name, full_name(c))]
    latest = newest(named, lambda c: c.pod_sandbox_id + c.metadata.name)
    running = [c for c in latest if c.state == pb.CONTAINER_RUNNING]
    return choose(containers, running if len(running) == 1 else latest, text, full_name)


def choose(things: Sequence[T], named: Sequence[T], text: str, name: Callable[[T], str]) -> T | None:
    """A whole id, else what is `named`, else a unique prefix of an id, else None. Raises InvalidArgument."""
    for thing in things:
        if thing.id == text:
            return thing
    found = list(named) or [thing for thing in things if text and thing.id.startswith(text)]
    if len(found) > 1:
        choice = ", ".join(f"{short_id(thing.id)} ({name(thing)})" for thing in found[:8])
        raise InvalidArgument(f"{text!r} could mean any of {choice}{', …' if len(found) > 8 else ''}")
    return found[0] if found else None


def newest(things: Sequence[T], key: Callable[[T], str]) -> list[T]:
    """Of things (newest first) with the same key, the first."""
    by_key: dict[str, T] = {}
    for thing in things:
        by_key.setdefault(key(thing), thing)
    return list(by_key.values())
