"""Clients that listen to events: all get all, a slow one is cut off, nobody is waited for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from podwright.backend.events import LifecycleEvent
from podwright.base.errors import ResourceExhausted, Unavailable
from podwright.base.lifecycle import Step
from podwright.container.model import Container
from podwright.cri.events import Events, Subscription, rendered
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.model import Sandbox
from tests.support.records import container_record, sandbox_record

POD = Sandbox(sandbox_record("pod", ready_at=5))


class Source:
    """A backend's events, published by hand."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[LifecycleEvent], None]] = []

    def subscribe(self, listener: Callable[[LifecycleEvent], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def publish(self, subject_id: str) -> None:
        for listener in self.listeners:
            listener(LifecycleEvent(Step.STARTED, subject_id, POD, []))


async def read(subscription: Subscription, count: int) -> list[str]:
    found: list[str] = []
    async for event in subscription:
        found.append(event.container_id)
        if len(found) == count:
            break
    return found


async def test_every_client_gets_every_event_in_order() -> None:
    source = Source()
    events = Events(source, queue_limit=10)
    with events.subscribe() as one, events.subscribe() as two:
        source.publish("a")
        source.publish("b")
        assert await read(one, 2) == ["a", "b"]
        assert await read(two, 2) == ["a", "b"]


async def test_the_backend_is_listened_to_only_while_somebody_asks() -> None:
    source = Source()
    events = Events(source, queue_limit=10)
    assert source.listeners == []
    with events.subscribe():
        with events.subscribe():
            assert len(source.listeners) == 1
        assert len(source.listeners) == 1
    assert source.listeners == []
    with events.subscribe() as again:
        source.publish("a")
        assert await read(again, 1) == ["a"]


async def test_a_slow_client_is_cut_off_and_the_others_are_not() -> None:
    source = Source()
    events = Events(source, queue_limit=3)
    with events.subscribe() as slow, events.subscribe() as quick:
        for name in "abcd":
            source.publish(name)
            assert await read(quick, 1) == [name]
        source.publish("e")
        with pytest.raises(ResourceExhausted, match="3 events were not read in time"):
            await read(slow, 1)
        assert await read(quick, 1) == ["e"]


async def test_clients_learn_that_the_daemon_stops() -> None:
    events = Events(Source(), queue_limit=10)
    with events.subscribe() as subscription:
        events.close()
        with pytest.raises(Unavailable, match="stopping"):
            await read(subscription, 1)


def test_an_event_as_a_message() -> None:
    container = Container(container_record("c", "pod", created_at=6, started_at=7, finished_at=8, exit_code=3))
    message = rendered(LifecycleEvent(Step.STOPPED, "c", POD, [container]))
    assert (message.container_id, message.container_event_type) == ("c", pb.CONTAINER_STOPPED_EVENT)
    assert message.created_at > 10**18
    assert message.pod_sandbox_status.metadata.uid == "uid-pod"
    assert message.pod_sandbox_status.state == pb.SANDBOX_READY
    assert [(status.id, status.exit_code) for status in message.containers_statuses] == [("c", 3)]


def test_a_pod_that_is_gone_is_left_out() -> None:
    assert not rendered(LifecycleEvent(Step.DELETED, "c", None, [])).HasField("pod_sandbox_status")
