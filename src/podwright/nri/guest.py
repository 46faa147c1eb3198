"""A connection that is not a plugin yet: what it may call, and what it registers as."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from podwright.base.errors import DeadlineExceeded, FailedPrecondition
from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.plugin import Plugin, check_identity
from podwright.ttrpc.errors import ConnectionLost
from podwright.ttrpc.server import Method

Update = Callable[[Plugin, pb.UpdateContainersRequest], Awaitable[list[pb.ContainerUpdate]]]


class Guest:
    """The runtime's service for one connection. `identity`: index and name of a plugin that we started; `update` is
    called once `plugin` is set."""

    def __init__(self, identity: tuple[str, str] | None, update: Update) -> None:
        self._identity, self._on_update = identity, update
        self._registered: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self.plugin: Plugin | None = None

    @property
    def name(self) -> str:
        return self.plugin.name if self.plugin else "-".join(self._identity or ("unregistered",))

    def methods(self) -> Mapping[str, Method]:
        return {
            "RegisterPlugin": Method(pb.RegisterPluginRequest, self._register),
            "UpdateContainers": Method(pb.UpdateContainersRequest, self._update),
        }

    async def registration(self, timeout_s: float) -> tuple[str, str]:
        """Index and name. Raises DeadlineExceeded, ConnectionLost, Refused."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._registered
        except TimeoutError:
            raise DeadlineExceeded(f"it did not register within {timeout_s:g} s") from None

    def lost(self, reason: str) -> None:
        """The connection has ended."""
        if not self._registered.done():
            self._registered.set_exception(ConnectionLost(reason))

    async def _register(self, request: pb.RegisterPluginRequest) -> pb.Empty:
        if self._registered.done():
            raise FailedPrecondition("this connection has registered a plugin already")
        index, name = self._identity or (request.plugin_idx, request.plugin_name)
        try:
            check_identity(index, name)
        except Refused as error:
            self._registered.set_exception(error)
            raise
        self._registered.set_result((index, name))
        return pb.Empty()

    async def _update(self, request: pb.UpdateContainersRequest) -> pb.UpdateContainersResponse:
        if self.plugin is None or not self.plugin.connected:
            raise FailedPrecondition("a plugin has to register first")
        return pb.UpdateContainersResponse(failed=await self._on_update(self.plugin, request))
