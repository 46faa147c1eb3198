"""Events follow from stored facts: each step once, with the whole pod as it is then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.backend.events import LifecycleEvent, subscribe
from podwright.base.lifecycle import Step
from podwright.container.model import START_ERROR, Containers
from podwright.sandbox.model import Sandboxes
from podwright.state.store import Store
from tests.support.records import container_record, sandbox_record

CREATED, STARTED, STOPPED, DELETED = Step.CREATED, Step.STARTED, Step.STOPPED, Step.DELETED


class Node:
    """Pods and containers, and the events heard of them."""

    def __init__(self, store: Store) -> None:
        self.sandboxes, self.containers = Sandboxes(store), Containers(store)
        self.events: list[LifecycleEvent] = []
        self.end = subscribe(self.sandboxes, self.containers, self.events.append)

    def heard(self) -> list[tuple[Step, str]]:
        heard = [(event.step, event.subject_id) for event in self.events]
        self.events.clear()
        return heard

    def add_pod(self, sandbox_id: str = "pod") -> None:
        self.sandboxes.hidden.add(sandbox_id)
        self.sandboxes.add(sandbox_record(sandbox_id))
        self.sandboxes.update(sandbox_id, ready_at=5)
        self.sandboxes.hidden.discard(sandbox_id)

    def add_container(self, container_id: str, sandbox_id: str = "pod") -> None:
        self.containers.hidden.add(container_id)
        self.containers.add(container_record(container_id, sandbox_id, reserved_at=len(self.containers) + 1))
        self.containers.update(container_id, created_at=6)
        self.containers.hidden.discard(container_id)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    store = Store(tmp_path / "db")
    yield Node(store)
    store.close()


def test_a_whole_life(node: Node) -> None:
    node.add_pod()
    assert node.heard() == [(CREATED, "pod"), (STARTED, "pod")]
    node.add_container("c")
    node.containers.update("c", started_at=7)
    node.containers.update("c", finished_at=8, exit_code=3)
    node.containers.update("c", runtime_released_at=8)
    node.containers.remove("c")
    assert node.heard() == [(CREATED, "c"), (STARTED, "c"), (STOPPED, "c"), (DELETED, "c")]
    node.sandboxes.update("pod", stopped_at=9)
    node.sandboxes.remove("pod")
    assert node.heard() == [(STOPPED, "pod"), (DELETED, "pod")]


def test_an_event_carries_the_pod_and_its_containers(node: Node) -> None:
    node.add_pod()
    node.add_pod("other")
    node.add_container("a")
    node.add_container("b")
    node.add_container("else", "other")
    event = node.events[-2]
    assert event.sandbox is not None
    assert event.sandbox.id == "pod"
    assert [container.id for container in event.containers] == ["a", "b"]


def test_the_last_event_of_a_pod_still_carries_it(node: Node) -> None:
    """The kubelet drops a pod from its cache by the DELETED event whose container_id is the pod's."""
    node.add_pod()
    node.sandboxes.remove("pod")
    assert node.events[-1].step is DELETED
    assert node.events[-1].sandbox is not None


def test_a_container_without_its_pod(node: Node) -> None:
    node.add_container("c", "gone")
    assert node.events[-1].sandbox is None


def test_a_start_that_failed_is_no_start(node: Node) -> None:
    node.add_pod()
    node.add_container("c")
    node.heard()
    node.containers.update("c", started_at=7, finished_at=7, exit_code=128, reason=START_ERROR)
    assert node.heard() == [(STOPPED, "c")]


def test_a_run_shorter_than_its_start_is_told_in_order(node: Node) -> None:
    node.add_pod()
    node.add_container("c")
    node.heard()
    node.containers.update("c", started_at=7, finished_at=7, exit_code=0, reason="Completed")
    node.containers.update("c", started_at=7)
    assert node.heard() == [(STARTED, "c"), (STOPPED, "c")]


def test_what_never_came_up_was_never_there(node: Node) -> None:
    node.sandboxes.hidden.add("pod")
    node.sandboxes.add(sandbox_record("pod"))
    node.containers.hidden.add("c")
    node.containers.add(container_record("c", "pod"))
    node.containers.remove("c")
    node.sandboxes.remove("pod")
    assert node.heard() == []


def test_the_end_of_a_subscription(node: Node) -> None:
    node.end()
    node.add_pod()
    node.add_container("c")
    assert node.heard() == []
