"""What pods and containers say to NRI, and what NRI needs of them.

The verbs of `sandbox/` and `container/` call `Plugins` at the points of NRI's life cycle, with ids only; `Node`, which
the backend implements, turns an id into NRI's words when a plugin wants them. So a daemon without plugins pays one
look at an empty list, and the verbs know nothing of NRI's messages.

    RunPodSandbox ──► CreateContainer ──► PostCreateContainer ──► StartContainer ──► PostStartContainer
                            │                                                              │
                      RemovePodSandbox ◄── StopPodSandbox ◄── RemoveContainer ◄── StopContainer

* `before` and `create` may refuse: they raise, and the step does not happen. `after` never raises.
* What a plugin is told of, it is told of once: STOP_CONTAINER when the end is stored, whether somebody asked for it
  or not; STOP_POD_SANDBOX when the pod's containers have ended and its namespaces are still there.
* A step whose hook ran and which then fails is taken back with the events of its end.
* `section` spans a hook that brings something into being and the storing of it. A new plugin is told what there is
  while no section is open, so each pod and container reaches it once: by that list, or by a request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import IntEnum
from typing import Protocol

from podwright.base.errors import FailedPrecondition
from podwright.nri import nri_pb2 as pb
from podwright.oci.runtime_spec import LinuxResources, Spec


class Event(IntEnum):
    """The events of NRI that need nothing but a pod or a container."""

    RUN_POD_SANDBOX = pb.RUN_POD_SANDBOX
    POST_UPDATE_POD_SANDBOX = pb.POST_UPDATE_POD_SANDBOX
    STOP_POD_SANDBOX = pb.STOP_POD_SANDBOX
    REMOVE_POD_SANDBOX = pb.REMOVE_POD_SANDBOX
    POST_CREATE_CONTAINER = pb.POST_CREATE_CONTAINER
    START_CONTAINER = pb.START_CONTAINER
    POST_START_CONTAINER = pb.POST_START_CONTAINER
    POST_UPDATE_CONTAINER = pb.POST_UPDATE_CONTAINER
    STOP_CONTAINER = pb.STOP_CONTAINER
    REMOVE_CONTAINER = pb.REMOVE_CONTAINER

    @property
    def of_pod(self) -> bool:
        """Whether its subject is a pod."""
        return self.name.endswith("POD_SANDBOX")


class Refused(FailedPrecondition):
    """A plugin said no, plugins contradict each other, or what they ask for can't be had."""


class Plugins(Protocol):
    """What the verbs call. `subject` is the id of a pod for an event of pods, else of a container."""

    @property
    def active(self) -> bool:
        """Whether a plugin is connected; for callers whose preparations cost something."""

    def section(self) -> AbstractAsyncContextManager[None]:
        """Around the hook of a creation and the storing of what was created."""

    async def before(self, event: Event, subject: str) -> None:
        """Ask the plugins. Raises Refused."""

    async def after(self, event: Event, subject: str) -> None:
        """Tell the plugins."""

    async def create(self, container_id: str, spec: Spec) -> Spec:
        """The specification as the plugins want it; other containers are updated on the way. Raises Refused."""

    async def update(self, container_id: str, resources: LinuxResources) -> LinuxResources:
        """The limits as the plugins want them; other containers are updated on the way. Raises Refused."""

    async def update_pod(self, sandbox_id: str, overhead: LinuxResources, resources: LinuxResources) -> None:
        """Before the pod's limits are taken note of. Raises Refused."""


class Node(Protocol):
    """What NRI needs of the backend."""

    def pod(self, sandbox_id: str) -> pb.PodSandbox:
        """The pod; a bare id when it is gone."""

    def pod_annotations(self, container_id: str) -> Mapping[str, str]:
        """The annotations of a container's pod."""

    def container(self, container_id: str) -> pb.Container:
        """The container with its specification as far as there is one; a bare id when it is gone."""

    def snapshot(self) -> tuple[list[pb.PodSandbox], list[pb.Container]]:
        """All pods, and the containers that are created or run."""

    async def update(self, container_id: str, resources: LinuxResources) -> None:
        """Change a container's limits, because a plugin wants it. Raises whatever the runtime does."""

    async def evict(self, container_id: str, reason: str) -> None:
        """End a container, because a plugin wants it."""


class NoPlugins:
    """Implements `Plugins` where NRI is off."""

    active = False

    @asynccontextmanager
    async def section(self) -> AsyncIterator[None]:
        yield

    async def before(self, event: Event, subject: str) -> None:
        return

    async def after(self, event: Event, subject: str) -> None:
        return

    async def create(self, container_id: str, spec: Spec) -> Spec:
        return spec

    async def update(self, container_id: str, resources: LinuxResources) -> LinuxResources:
        return resources

    async def update_pod(self, sandbox_id: str, overhead: LinuxResources, resources: LinuxResources) -> None:
        return
