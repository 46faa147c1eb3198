"""A client of GetContainerEvents that reads in a thread, and can be waited with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon

_TYPES = pb.ContainerEventType


class EventReader:
    """`with EventReader(daemon) as events`: all that happens inside the block; read from `start` on without `read`."""

    def __init__(self, daemon: Daemon, *, read: bool = True) -> None:
        self._daemon, self._read_at_once = daemon, read
        self.events: list[pb.ContainerEventResponse] = []
        self.error: grpc.StatusCode | None = None
        self.details = ""

    def __enter__(self) -> EventReader:
        opened = self._daemon.log.read_text().count("somebody listens to events")
        self._stream: Any = self._daemon.runtime.GetContainerEvents(pb.GetEventsRequest())
        self._thread = threading.Thread(target=self._read, daemon=True)
        if self._read_at_once:
            self.start()
        wait(lambda: self._daemon.log.read_text().count("somebody listens to events") > opened, "the stream to open")
        return self

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _read(self) -> None:
        try:
            self.events.extend(self._stream)
        except grpc.RpcError as error:
            self.error, self.details = error.code(), str(error.details())

    def __exit__(self, *_error: object) -> None:
        self._stream.cancel()
        self._thread.join(10)

    def steps(self) -> list[tuple[str, str]]:
        """(step, id) of all events so far."""
        return [(step(event), event.container_id) for event in self.events]

    def wait_for(self, name: str, subject_id: str) -> pb.ContainerEventResponse:
        """The event of that step of that container or pod, when it has come."""

        def found() -> pb.ContainerEventResponse | None:
            return next((e for e in list(self.events) if (step(e), e.container_id) == (name, subject_id)), None)

        wait(found, f"{name} of {subject_id[:13]} in {self.steps()}")
        event = found()
        assert event is not None
        return event

    def wait_end(self) -> grpc.StatusCode | None:
        """The code that the stream ended with, by itself."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.error


def step(event: pb.ContainerEventResponse) -> str:
    return _TYPES.Name(event.container_event_type).removeprefix("CONTAINER_").removesuffix("_EVENT").lower()


def wait(condition: Callable[[], object], what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)  # noqa: TID251 - no event loop here
