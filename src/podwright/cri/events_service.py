"""runtime.v1.RuntimeService, the events: GetContainerEvents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from podwright.cri.events import Events
from podwright.criapi import api_pb2 as pb


class EventsService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def GetContainerEvents(self, _request: pb.GetEventsRequest) -> AsyncIterator[pb.ContainerEventResponse]:
        with self._events.subscribe() as events:
            async for event in events:
                yield event
