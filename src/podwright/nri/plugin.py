"""One plugin that has registered: its name, the events it wants, and what it answers.

A plugin that does not answer in time, or whose connection breaks, is disconnected and counts as one that said
nothing; an error that it answers with is its word, and is passed on.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TypeVar

from google.protobuf.message import Message

from podwright.base.errors import DeadlineExceeded
from podwright.base.log import get_logger
from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.connection import Connection
from podwright.nri.settings import Settings
from podwright.ttrpc.errors import ConnectionLost, RemoteError
from podwright.wire import ttrpc

log = get_logger(__name__)
M = TypeVar("M", bound=Message)

NRI_VERSION = "v0.12.1"
"""The version of upstream's interface that this one equals."""

_INDEX = re.compile(r"[0-9][0-9]\Z")
_NAME = re.compile(r"[A-Za-z0-9._+-]{1,128}\Z")
_ALL_EVENTS = (1 << (pb.LAST - 1)) - 1
_BACKLOG_LIMIT = 10_000
# What plugins built before NRI 0.12 are told by StateChange; of other things that they don't know they say nothing.
_BY_STATE_CHANGE = frozenset(
    {
        pb.RUN_POD_SANDBOX, pb.POST_UPDATE_POD_SANDBOX, pb.STOP_POD_SANDBOX, pb.REMOVE_POD_SANDBOX,
        pb.POST_CREATE_CONTAINER, pb.START_CONTAINER, pb.POST_START_CONTAINER, pb.POST_UPDATE_CONTAINER,
        pb.REMOVE_CONTAINER,
    }
)  # fmt: skip


def check_identity(index: str, name: str) -> str:
    """The full name, like 10-logger. Raises Refused."""
    if not _INDEX.match(index):
        raise Refused(f"plugin index {index[:20]!r} is not two digits")
    if not _NAME.match(name):
        raise Refused(f"plugin name {name[:140]!r} must be made of letters, digits, '-', '_', '.' and '+'")
    return f"{index}-{name}"


class Plugin:
    """`backlog` collects the events that happen while the plugin is being told what there is."""

    def __init__(self, index: str, name: str, connection: Connection, settings: Settings) -> None:
        self.index, self.base_name, self.name = index, name, check_identity(index, name)
        self._connection, self._settings = connection, settings
        self._events = 0
        self._old: set[int] = set()
        self.backlog: deque[tuple[int, Message]] = deque(maxlen=_BACKLOG_LIMIT)

    @property
    def connected(self) -> bool:
        return not self._connection.closed

    def wants(self, event: int) -> bool:
        """Whether the plugin has subscribed to the event."""
        return bool(self._events >> (event - 1) & 1)

    async def configure(self, config: str, runtime_version: str) -> None:
        """Raises Refused, and what the connection does."""
        settings = self._settings
        answer = await self._connection.call(
            "Configure",
            pb.ConfigureRequest(
                config=config, runtime_name="podwright", runtime_version=runtime_version, NRI_version=NRI_VERSION,
                registration_timeout=int(settings.registration_timeout_s * 1000),
                request_timeout=int(settings.request_timeout_s * 1000),
            ),
            pb.ConfigureResponse, timeout_s=settings.request_timeout_s,
        )  # fmt: skip
        events = answer.events & 0xFFFFFFFF
        if events & ~_ALL_EVENTS:
            raise Refused(f"events {events:#x}: NRI {NRI_VERSION} has no such events")
        self._events = events or _ALL_EVENTS

    async def synchronize(self, pods: list[pb.PodSandbox], containers: list[pb.Container]) -> list[pb.ContainerUpdate]:
        """Tell what there is, in as many messages as it needs. Raises Refused, and what the connection does."""
        messages = pages(pods, containers)
        for message in messages:
            answer = await self._connection.call(
                "Synchronize", message, pb.SynchronizeResponse, timeout_s=self._settings.synchronize_timeout_s
            )
            if message.more and (answer.update or not answer.more):
                raise Refused("the plugin does not take a list in parts (it was built with an NRI before 0.7)")
        return list(answer.update)

    async def ask(self, method: str, event: int, request: Message, answer: type[M]) -> M | None:
        """The plugin's answer; None when it does not want the event, or is disconnected for what it did.

        Raises Refused with the plugin's words.
        """
        if not self.wants(event) or not self.connected:
            return None
        try:
            return await self._call(method, event, request, answer)
        except (ConnectionLost, DeadlineExceeded, ttrpc.ProtocolError) as error:
            self.disconnect(str(error))
            return None
        except (RemoteError, ttrpc.MessageTooLong) as error:
            raise Refused(f"NRI plugin {self.name}, {method}: {error}") from error

    async def _call(self, method: str, event: int, request: Message, answer: type[M]) -> M:
        timeout_s = self._settings.request_timeout_s
        if event not in self._old:
            try:
                return await self._connection.call(method, request, answer, timeout_s=timeout_s)
            except RemoteError as error:
                if not error.unimplemented:
                    raise
                if event not in _BY_STATE_CHANGE:
                    return answer()
                self._old.add(event)
        change = pb.StateChangeEvent(event=event)  # type: ignore[arg-type]
        for name in ("pod", "container"):
            if name in request.DESCRIPTOR.fields_by_name:
                getattr(change, name).CopyFrom(getattr(request, name))
        await self._connection.call("StateChange", change, pb.Empty, timeout_s=timeout_s)
        return answer()

    def disconnect(self, reason: str) -> None:
        """Give the plugin up. It may connect again."""
        if self.connected:
            log.warning("an NRI plugin is disconnected", plugin=self.name, reason=reason)
            self._connection.close(reason)

    async def shut_down(self) -> None:
        """Say goodbye; the daemon ends."""
        try:
            await self._connection.call("Shutdown", pb.Empty(), pb.Empty, timeout_s=self._settings.request_timeout_s)
        except (ConnectionLost, DeadlineExceeded, RemoteError, ttrpc.ProtocolError) as error:
            log.debug("an NRI plugin did not take its leave", plugin=self.name, error=str(error))
        self._connection.close("the daemon ends")


def pages(pods: list[pb.PodSandbox], containers: list[pb.Container]) -> list[pb.SynchronizeRequest]:
    """One message if it fits a frame with room to spare, as old plugins want it; else parts of bounded size."""
    whole = pb.SynchronizeRequest(pods=pods, containers=containers)
    if whole.ByteSize() <= ttrpc.DATA_LIMIT_BYTES // 2:
        return [whole]
    pages = [pb.SynchronizeRequest(more=True)]
    size = 0
    for kind, items in (("pods", pods), ("containers", containers)):
        for item in items:
            size += item.ByteSize() + 16
            if size > ttrpc.DATA_LIMIT_BYTES // 2:
                pages.append(pb.SynchronizeRequest(more=True))
                size = item.ByteSize() + 16
            getattr(pages[-1], kind).append(item)
    pages[-1].more = False
    return pages
