"""GetContainerEvents: each event rendered once, and a bounded queue for each client that listens.

Nobody waits for a client. One whose queue is full has fallen behind for good: it is cut off with an error that says
so, and lists anew, as the kubelet does whenever its stream breaks. Without clients the backend isn't listened to.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from podwright.backend.base import EventSource
from podwright.backend.events import LifecycleEvent
from podwright.base.errors import PodwrightError, ResourceExhausted, Unavailable
from podwright.base.lifecycle import Step
from podwright.base.log import get_logger
from podwright.cri import render
from podwright.criapi import api_pb2 as pb

log = get_logger(__name__)

_TYPES = {
    Step.CREATED: pb.CONTAINER_CREATED_EVENT,
    Step.STARTED: pb.CONTAINER_STARTED_EVENT,
    Step.STOPPED: pb.CONTAINER_STOPPED_EVENT,
    Step.DELETED: pb.CONTAINER_DELETED_EVENT,
}


class Subscription:
    """One client's unread events. `put` never waits; iterating waits for the next one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread: deque[pb.ContainerEventResponse] = deque()
        self._news = asyncio.Event()
        self._error: PodwrightError | None = None

    def put(self, event: pb.ContainerEventResponse) -> None:
        if self._error is not None:
            return
        if len(self._unread) == self._limit:
            log.warning("a reader of events is too slow and is cut off", unread=self._limit)
            self.end(ResourceExhausted(f"{self._limit} events were not read in time: list, and ask for events again"))
            return
        self._unread.append(event)
        self._news.set()

    def end(self, error: PodwrightError) -> None:
        """Nothing more comes; what is unread is dropped, and the reader gets `error`."""
        self._error = error
        self._unread.clear()
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[pb.ContainerEventResponse]:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._unread:
                yield self._unread.popleft()
            if self._error is not None:
                raise self._error


class Events:
    """The clients that listen now, and their one subscription to the backend. `queue_limit`: see the settings."""

    def __init__(self, source: EventSource, *, queue_limit: int) -> None:
        self._source, self._queue_limit = source, queue_limit
        self._subscriptions: set[Subscription] = set()
        self._unsubscribe: Callable[[], None] | None = None

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """All events from now on, for one client, until the block is left."""
        if self._unsubscribe is None:
            self._unsubscribe = self._source.subscribe(self._publish)
        subscription = Subscription(self._queue_limit)
        self._subscriptions.add(subscription)
        log.debug("somebody listens to events", listeners=len(self._subscriptions))
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions and self._unsubscribe is not None:
                self._unsubscribe()
                self._unsubscribe = None

    def _publish(self, event: LifecycleEvent) -> None:
        message = rendered(event)
        for subscription in self._subscriptions:
            subscription.put(message)

    def close(self) -> None:
        """The daemon stops: no client may keep it from ending."""
        for subscription in self._subscriptions:
            subscription.end(Unavailable("the daemon is stopping; ask again when it is back"))

    def __len__(self) -> int:
        return len(self._subscriptions)


def rendered(event: LifecycleEvent) -> pb.ContainerEventResponse:
    """The message of an event that happens now. The kubelet orders by `created_at` and ignores what is older than
    what it knows, so it is the time of the telling, not that of a fact that was found out late."""
    return pb.ContainerEventResponse(
        container_id=event.subject_id,
        container_event_type=_TYPES[event.step],
        created_at=time.time_ns(),
        pod_sandbox_status=None if event.sandbox is None else render.sandbox_status(event.sandbox),
        containers_statuses=map(render.container_status, event.containers),
    )
