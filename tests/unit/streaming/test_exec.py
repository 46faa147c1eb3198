"""Exec and attach through the server, over both transports, with processes of this host."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator

import pytest

from podwright.base.errors import Unavailable
from podwright.base.streams import ProcessStreams, TerminalSize
from podwright.base.tasks import Tasks
from podwright.streaming import client
from podwright.streaming.base import Attach, Exec, Wanted
from podwright.streaming.server import StreamingServer
from podwright.wire.channels import STDERR, STDIN, STDOUT, V1, V4, V4_BASE64, V5, encode, encode_end
from podwright.wire.remotecommand import Outcome
from tests.support.streaming import Bytes, Collected, HostBackend, WebSocketClient, serving, sizes

OUTPUT = Wanted(stdout=True, stderr=True)
ALL = Wanted(stdin=True, stdout=True, stderr=True)
ERROR = 3


def exec_url(server: StreamingServer, *command: str, wanted: Wanted = OUTPUT) -> str:
    return server.url(Exec("container", command, wanted))


async def run(url: str, wanted: Wanted = OUTPUT, stdin: Bytes | None = None) -> tuple[Outcome, bytes, bytes]:
    out, err = Collected(), Collected()
    async with asyncio.timeout(30):
        outcome = await client.remote_command(url, wanted, ProcessStreams(stdin, out, err))
    return outcome, bytes(out.data), bytes(err.data)


async def test_output_errors_and_exit_code() -> None:
    async with serving() as server:
        url = exec_url(server, "sh", "-c", "echo out; echo err >&2; exit 3")
        assert await run(url) == (Outcome(3), b"out\n", b"err\n")


async def test_input_is_half_closed() -> None:
    async with serving() as server:
        url = exec_url(server, "sh", "-c", "cat; echo ended", wanted=ALL)
        assert await run(url, ALL, Bytes(b"one ", b"two ")) == (Outcome(), b"one two ended\n", b"")


async def test_megabytes_both_ways_arrive_as_they_were() -> None:
    piece = os.urandom(1 << 20)
    async with serving() as server:
        url = exec_url(server, "cat", wanted=ALL)
        outcome, out, _ = await run(url, ALL, Bytes(*[piece] * 8))
        assert outcome == Outcome()
        assert hashlib.sha256(out).digest() == hashlib.sha256(piece * 8).digest()


async def test_an_exec_whose_input_stays_open_ends_with_its_process() -> None:
    async with serving() as server:
        url = exec_url(server, "echo", "done", wanted=ALL)
        assert await run(url, ALL, Bytes(endless=True)) == (Outcome(), b"done\n", b"")


async def test_errors_of_the_backend_reach_the_client() -> None:
    async with serving() as server:
        url = server.url(Exec("missing", ("true",), OUTPUT))
        assert await run(url) == (Outcome(error="no container missing"), b"", b"")
        assert (await run(exec_url(server, "/no/such/program")))[0].error


async def test_terminal_sizes() -> None:
    backend, wanted = HostBackend(), Wanted(stdin=True, stdout=True, terminal=True)
    given = [TerminalSize(80, 24), TerminalSize(100, 30)]

    async with serving(backend) as server:
        out = Collected()

        async def slowly() -> AsyncIterator[TerminalSize]:
            for size in given:
                yield size
                while size not in backend.sizes:
                    await asyncio.sleep(0.001)

        streams = ProcessStreams(Bytes(), out, None, slowly())
        outcome = await client.remote_command(exec_url(server, "echo", "hi", wanted=wanted), wanted, streams)
    assert (outcome, bytes(out.data), backend.sizes) == (Outcome(), b"hi\n", given)


async def test_a_flood_of_sizes_is_one_size() -> None:
    backend, wanted = HostBackend(), Wanted(stdin=True, stdout=True, terminal=True)
    async with serving(backend) as server:
        url = server.url(Attach("container", wanted))
        flood = sizes(*(TerminalSize(n, n) for n in range(1, 5000)))
        out = Collected()
        outcome = await client.remote_command(url, wanted, ProcessStreams(Bytes(b"x"), out, None, flood))
    assert (outcome, bytes(out.data)) == (Outcome(), b"x")


async def test_attach_ends_with_its_input() -> None:
    async with serving() as server:
        assert await run(server.url(Attach("c", ALL)), ALL, Bytes(b"abc")) == (Outcome(), b"abc", b"")


@pytest.mark.parametrize("wanted", [OUTPUT, ALL])
async def test_clients_that_leave_an_attach_leave_nothing(wanted: Wanted) -> None:
    backend, tasks = HostBackend(), Tasks("test")
    async with serving(backend) as server:
        for _ in range(20):
            out = Collected()
            stdin = Bytes(b"hello", endless=True) if wanted.stdin else None
            attached = tasks.start(
                client.remote_command(server.url(Attach("c", wanted)), wanted, ProcessStreams(stdin, out, out)),
                name="attach",
            )
            if wanted.stdin:
                await out.got_some.wait()
            else:
                while not len(server):
                    await asyncio.sleep(0.001)
            attached.cancel()
            await asyncio.wait([attached])
            while len(server):
                await asyncio.sleep(0.001)


async def test_a_client_that_leaves_during_exec_is_an_error_on_its_streams() -> None:
    backend, tasks = HostBackend(), Tasks("test")
    async with serving(backend) as server:
        out = Collected()
        streams = ProcessStreams(Bytes(b"x", endless=True), out, out)
        running = tasks.start(client.remote_command(exec_url(server, "cat", wanted=ALL), ALL, streams), name="exec")
        await out.got_some.wait()
        running.cancel()
        await asyncio.wait([running])
        while len(server):
            await asyncio.sleep(0.001)
    assert backend.lost


async def test_stopping_the_server_tells_the_client() -> None:
    tasks = Tasks("test")
    async with serving() as server:
        out = Collected()
        url = exec_url(server, "sh", "-c", "echo started; exec sleep 1000")
        running = tasks.start(client.remote_command(url, OUTPUT, ProcessStreams(None, out, out)), name="exec")
        await out.got_some.wait()
        await server.stop()
        assert "stopping" in (await running).error


async def test_a_slow_reader_stops_the_process_and_not_our_memory() -> None:
    class Slow(Collected):
        go_on = asyncio.Event()

        async def write(self, data: bytes) -> None:
            await super().write(data)
            await self.go_on.wait()

    tasks, out = Tasks("test"), Slow()
    async with serving() as server:
        url = exec_url(server, "sh", "-c", "head -c 30000000 /dev/zero; echo done >&2")
        err = Collected()
        running = tasks.start(client.remote_command(url, OUTPUT, ProcessStreams(None, out, err)), name="exec")
        await out.got_some.wait()
        for _ in range(20):
            await asyncio.sleep(0.01)
        # 30 MB don't fit into pipes and sockets: the process still waits.
        assert not err.data
        out.go_on.set()
        assert await running == Outcome()
        assert (len(out.data), bytes(err.data)) == (30_000_000, b"done\n")


async def test_a_client_that_opens_no_streams_is_left() -> None:
    async with serving(creation_timeout_s=0.05) as server, client.dial(exec_url(server, "true"), V4) as connection:
        stream = await connection.open({"streamtype": "error"})
        with pytest.raises(ConnectionError):
            await stream.read()


async def test_streams_that_were_not_asked_for_are_refused() -> None:
    async with serving() as server, client.dial(exec_url(server, "true"), V4) as connection:
        for kind in ("stdin", "resize", "data", ""):
            with pytest.raises(ConnectionRefusedError):
                await connection.open({"streamtype": kind})
        await connection.open({"streamtype": "stdout"})
        with pytest.raises(ConnectionRefusedError):
            await connection.open({"streamtype": "stdout"})


@pytest.mark.parametrize(
    ("protocol", "text"), [("v3.channel.k8s.io", b"exit code 4"), ("channel.k8s.io", b"exit code 4")]
)
async def test_older_subprotocols_end_with_a_text(protocol: str, text: bytes) -> None:
    async with serving() as server, client.dial(exec_url(server, "sh", "-c", "exit 4"), protocol) as connection:
        error, out, err = [await connection.open({"streamtype": kind}) for kind in ("error", "stdout", "stderr")]
        assert text in await error.read()
        assert [await stream.read() for stream in (error, out, err)] == [b"", b"", b""]


async def test_an_unknown_subprotocol_is_refused() -> None:
    async with serving() as server:
        with pytest.raises(Unavailable, match=r"403.*v9"):
            async with client.dial(exec_url(server, "true"), "v9.channel.k8s.io"):
                pass


async def channels(socket: WebSocketClient) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    async for message in socket.messages():
        found[message[0]] = found.get(message[0], b"") + message[1:]
    await socket.close()
    return found


async def test_websocket_v5_with_half_close() -> None:
    async with serving() as server:
        socket = await WebSocketClient.connect(exec_url(server, "sh", "-c", "cat; echo e >&2", wanted=ALL), V5, V4)
        await socket.send(encode(STDIN, b"in", V5))
        await socket.ping()
        await socket.send(encode_end(STDIN))
        found = await channels(socket)
        assert (found[STDOUT], found[STDERR]) == (b"in", b"e\n")
        assert json.loads(found[ERROR])["status"] == "Success"
        assert socket.pongs == 1


@pytest.mark.parametrize("protocol", [V4, V1, ""])
async def test_websocket_before_v5(protocol: str) -> None:
    async with serving() as server:
        url = exec_url(server, "sh", "-c", "read x; echo got $x; exit 7", wanted=ALL)
        socket = await WebSocketClient.connect(url, *filter(None, [protocol]))
        await socket.send(encode(STDIN, b"line\n", V4))
        found = await channels(socket)
        assert found[STDOUT] == b"got line\n"
        assert (b"ExitCode" in found[ERROR]) == (protocol == V4)
        assert b"7" in found[ERROR]


async def test_websocket_in_base64() -> None:
    async with serving() as server:
        url = exec_url(server, "sh", "-c", "read x; echo got $x", wanted=ALL)
        socket = await WebSocketClient.connect(url, V4_BASE64)
        await socket.send_text(encode(STDIN, b"\xc3\xa4\n", V4_BASE64).decode())
        messages = [message async for message in socket.messages()]
        await socket.close()
        assert encode(STDOUT, b"got \xc3\xa4\n", V4_BASE64) in messages


async def test_websocket_megabytes_and_a_client_that_vanishes() -> None:
    async with serving() as server:
        socket = await WebSocketClient.connect(exec_url(server, "head", "-c", "20000000", "/dev/zero"), V5)
        assert len((await channels(socket))[STDOUT]) == 20_000_000
        socket = await WebSocketClient.connect(exec_url(server, "head", "-c", "20000000", "/dev/zero"), V5)
        socket.writer.transport.abort()
        while len(server):
            await asyncio.sleep(0.001)


async def test_websocket_messages_that_are_wrong_end_the_connection() -> None:
    async with serving() as server:
        socket = await WebSocketClient.connect(server.url(Attach("c", ALL)), V4_BASE64)
        await socket.send_text("0not base64!")
        async with asyncio.timeout(10):
            async for _message in socket.messages():
                pass
        await socket.close()
        with pytest.raises(ConnectionRefusedError, match="403"):
            await WebSocketClient.connect(exec_url(server, "true"), "v9.channel.k8s.io")


async def test_a_websocket_client_hears_of_us_while_nobody_reads_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ping waits behind the input in the same connection; client-go gives up after a minute without a pong."""
    monkeypatch.setattr("podwright.streaming.websocket._PONG_PERIOD_S", 0.01)
    tasks = Tasks("test")
    async with serving() as server:
        socket = await WebSocketClient.connect(exec_url(server, "sleep", "1000", wanted=ALL), V5)
        tasks.start(socket.send(encode(STDIN, bytes(8_000_000), V5)), name="input that nobody reads")
        tasks.start(channels(socket), name="output")
        async with asyncio.timeout(30):
            while not socket.pongs:
                await asyncio.sleep(0.001)
        await tasks.close()
        socket.writer.transport.abort()
