"""Events of pods and containers: one step of one of them, with the whole pod as it was at that moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podwright.base.lifecycle import Step
from podwright.container.model import Container, Containers
from podwright.sandbox.model import Sandbox, Sandboxes


@dataclass(frozen=True)
class LifecycleEvent:
    """`subject_id` is a container's id, or the pod's own. `containers` are all that the pod has now, oldest first.

    `sandbox` is None for a container whose pod is gone. Records change: a listener reads what it wants at once.
    """

    step: Step
    subject_id: str
    sandbox: Sandbox | None
    containers: Sequence[Container]


def subscribe(
    sandboxes: Sandboxes, containers: Containers, listener: Callable[[LifecycleEvent], None]
) -> Callable[[], None]:
    """Tell `listener` all steps from now on; gives the function that ends it."""

    def of_pod(sandbox_id: str) -> list[Container]:
        return [container for container in containers.of_sandbox(sandbox_id) if container.record.created_at]

    def container_changed(step: Step, container: Container) -> None:
        sandbox_id = container.record.sandbox_id
        listener(LifecycleEvent(step, container.id, sandboxes.find_or_none(sandbox_id), of_pod(sandbox_id)))

    def sandbox_changed(step: Step, sandbox: Sandbox) -> None:
        listener(LifecycleEvent(step, sandbox.id, sandbox, of_pod(sandbox.id)))

    ends = (containers.changes.subscribe(container_changed), sandboxes.changes.subscribe(sandbox_changed))

    def end() -> None:
        for each in ends:
            each()

    return end
