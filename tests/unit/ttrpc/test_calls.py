"""Client and server talking to each other in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from podwright.base.errors import DeadlineExceeded, NotFound
from podwright.nri import nri_pb2 as pb
from podwright.ttrpc.client import Client
from podwright.ttrpc.errors import ConnectionLost, RemoteError
from podwright.ttrpc.server import Method, Server
from podwright.wire import ttrpc, ttrpc_pb2

Handler = Callable[[pb.KeyValue], Awaitable[pb.KeyValue]]


class Pair:
    """Both ends of a connection; what one sends the other gets in the loop's next turn."""

    def __init__(self, handler: Handler, *, limit: int = 64) -> None:
        methods = {("s", "m"): Method(pb.KeyValue, handler)}
        self.server = Server(lambda frame: _soon(self.client.feed, frame), methods, limit=limit)
        self.client = Client(lambda frame: _soon(self.server.feed, frame))

    async def call(self, key: str = "", *, method: str = "m", timeout_s: float = 10) -> str:
        answer = await self.client.call("s", method, pb.KeyValue(key=key), pb.KeyValue, timeout_s=timeout_s)
        return answer.value


def _soon(feed: Callable[[bytes], None], frame: bytes) -> None:
    asyncio.get_running_loop().call_soon(feed, frame)


async def echo(request: pb.KeyValue) -> pb.KeyValue:
    return pb.KeyValue(value=request.key)


async def test_calls_are_answered_side_by_side() -> None:
    gate = asyncio.Event()

    async def handler(request: pb.KeyValue) -> pb.KeyValue:
        if request.key == "slow":
            await gate.wait()
        gate.set()
        return pb.KeyValue(value=request.key)

    pair = Pair(handler)
    assert list(await asyncio.gather(pair.call("slow"), pair.call("fast"))) == ["slow", "fast"]


async def test_an_error_keeps_its_kind_and_words() -> None:
    async def handler(request: pb.KeyValue) -> pb.KeyValue:
        raise NotFound("no such thing")

    with pytest.raises(RemoteError, match="no such thing") as error:
        await Pair(handler).call()
    assert error.value.code == 5


async def test_an_exception_is_an_unknown_error_and_the_connection_lives() -> None:
    async def handler(request: pb.KeyValue) -> pb.KeyValue:
        if request.key == "bad":
            raise ZeroDivisionError
        return pb.KeyValue(value="fine")

    pair = Pair(handler)
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        await pair.call("bad")
    assert await pair.call("good") == "fine"


async def test_an_unknown_method_is_unimplemented() -> None:
    with pytest.raises(RemoteError) as error:
        await Pair(echo).call(method="other")
    assert error.value.unimplemented


async def test_a_deadline_holds_on_both_sides() -> None:
    ended = asyncio.Event()

    async def handler(request: pb.KeyValue) -> pb.KeyValue:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    with pytest.raises(DeadlineExceeded):
        await Pair(handler).call(timeout_s=0.01)
    await ended.wait()


async def test_calls_beyond_the_limit_are_refused() -> None:
    gate = asyncio.Event()

    async def handler(request: pb.KeyValue) -> pb.KeyValue:
        await gate.wait()
        return pb.KeyValue()

    pair = Pair(handler, limit=2)
    results = asyncio.gather(*(pair.call() for _ in range(3)), return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    *_, last = await results
    assert isinstance(last, RemoteError)
    assert last.code == ttrpc.Code.RESOURCE_EXHAUSTED


async def test_a_lost_connection_wakes_who_waits_and_refuses_later_calls() -> None:
    client = Client(lambda frame: None)
    waiting = asyncio.gather(client.call("s", "m", pb.Empty(), pb.Empty, timeout_s=10), return_exceptions=True)
    await asyncio.sleep(0)
    client.close("gone")
    (error,) = await waiting
    assert isinstance(error, ConnectionLost)
    with pytest.raises(ConnectionLost, match="gone"):
        await client.call("s", "m", pb.Empty(), pb.Empty, timeout_s=10)


async def test_streaming_calls_are_refused() -> None:
    answers: list[bytes] = []
    server = Server(answers.append, {("s", "m"): Method(pb.KeyValue, echo)})
    _, frame = ttrpc.Client().request("s", "m", b"", flags=ttrpc.Flag.REMOTE_OPEN)
    server.feed(frame)
    (answer,) = ttrpc.FrameDecoder().feed(answers[0])
    assert ttrpc_pb2.Response.FromString(answer.data).status.code == ttrpc.Code.UNIMPLEMENTED


async def test_closing_ends_what_runs() -> None:
    started = asyncio.Event()

    async def handler(request: pb.KeyValue) -> pb.KeyValue:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = Server(lambda frame: None, {("s", "m"): Method(pb.KeyValue, handler)})
    server.feed(ttrpc.Client().request("s", "m", b"")[1])
    await started.wait()
    await server.close()
