"""The client of the engine against a real one: versions, refusals, streams, and connections that are taken over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from examples.make_hello_image import image as hello_image

from podwright.base.errors import InvalidArgument
from podwright.docker.engine import Engine
from podwright.docker.errors import Conflict, EngineFailed, EngineTooOld, EngineUnavailable, NoSuchObject
from podwright.docker.hijack import Hijacked
from podwright.wire.docker_stream import FrameReader, Stream
from tests.support.dockerd import Dockerd

HELLO = "localhost/podwright/hello:latest"


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def run(engine: Engine, *command: str, **settings: object) -> str:
    """A container of busybox that runs; its id."""
    async with engine.stream("POST", "/images/load", body=_whole(hello_image(HELLO))) as answer:
        async for _ in answer:
            pass
    body = {"Image": HELLO, "Cmd": command, "HostConfig": {"NetworkMode": "none"}, **settings}
    container = (await engine.post("/containers/create", dict[str, Any], body))["Id"]
    await engine.do("POST", f"/containers/{container}/start")
    return str(container)


async def read_all(connection: Hijacked) -> dict[Stream, bytes]:
    reader, found = FrameReader(), dict.fromkeys((Stream.STDOUT, Stream.STDERR), b"")
    while data := await connection.read():
        for piece in reader.feed(data):
            found[piece.stream] += piece.data
    assert reader.between_frames
    return found


async def test_the_engine_says_no(engine: Engine) -> None:
    assert engine.api_version >= (1, 41)
    assert engine.version
    with pytest.raises(NoSuchObject, match="Docker: No such container: nobody"):
        await engine.get("/containers/nobody/json", dict[str, Any])
    with pytest.raises(EngineFailed, match="cannot unmarshal"):
        await engine.do("POST", "/containers/create", {"Image": 5})
    with pytest.raises(EngineFailed, match="don't understand"):
        await engine.get("/info", list[int])
    container = await run(engine, "sleep", "60")
    with pytest.raises(Conflict, match="running container"):
        await engine.do("DELETE", f"/containers/{container}")
    with pytest.raises(InvalidArgument, match="Invalid signal"):
        await engine.do("POST", f"/containers/{container}/kill", query={"signal": "NOPE"})
    await engine.do("POST", f"/containers/{container}/start")  # "not modified" is success
    with pytest.raises(NoSuchObject):
        await engine.hijack("/exec/nobody/start", {"Detach": False, "Tty": False})


async def test_an_exec_with_all_streams(engine: Engine) -> None:
    container = await run(engine, "sleep", "60")
    command = ["sh", "-c", "cat; echo problem >&2; exit 7"]
    asked = {"Cmd": command, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    exec_id = (await engine.post(f"/containers/{container}/exec", dict[str, str], asked))["Id"]
    connection = await engine.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": False})
    sent = b"0123456789" * 100_000

    async def send() -> None:
        await connection.write(sent)
        connection.end_input()

    _, found = await asyncio.gather(send(), read_all(connection))
    connection.close()
    assert found == {Stream.STDOUT: sent, Stream.STDERR: b"problem\n"}
    assert (await engine.get(f"/exec/{exec_id}/json", dict[str, Any]))["ExitCode"] == 7


async def test_what_is_attached_gets_its_input_and_nothing_else(tmp_path: Path) -> None:
    got = asyncio.get_running_loop().create_future()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        got.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_unix_server(handle, tmp_path / "d.sock"):
        engine = Engine(tmp_path / "d.sock")
        connection = await engine.hijack("/containers/x/attach")
        await connection.write(b"hello\n")
        connection.end_input()
        assert await got == b"hello\n"
        connection.close()
        await engine.close()


async def test_logs_come_one_message_a_frame(engine: Engine) -> None:
    container = await run(engine, "sh", "-c", "echo one; echo two >&2; echo -n three")
    await engine.do("POST", f"/containers/{container}/wait")
    reader, found = FrameReader(), []
    query = {"stdout": True, "stderr": True, "timestamps": True}
    async with engine.stream("GET", f"/containers/{container}/logs", query) as chunks:
        async for chunk in chunks:
            found += [(piece.stream, piece.data.partition(b" ")[2]) for piece in reader.feed(chunk)]
    assert sorted(found) == [(Stream.STDOUT, b"one\n"), (Stream.STDOUT, b"three"), (Stream.STDERR, b"two\n")]


async def test_a_stream_is_left_when_its_block_is(engine: Engine, dockerd: Dockerd) -> None:
    async with engine.stream("GET", "/events", {"filters": {"type": ["container"]}}) as events:
        container = await run(engine, "sleep", "60")
        async for event in events:
            assert msgspec.json.decode(event.splitlines()[0])["Action"] == "create"
            break
    with pytest.raises(ValueError, match="the reader's own"):
        async with engine.stream("GET", "/events"):
            raise ValueError("the reader's own")
    assert container in dockerd.container_ids()


async def test_nobody_answers(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "docker.sock")
    with pytest.raises(EngineUnavailable, match=r"no Docker Engine answers at .*No such file"):
        await engine.connect()
    with pytest.raises(EngineUnavailable, match="No such file"):
        await engine.hijack("/exec/x/start", {})
    await engine.close()


@asynccontextmanager
async def fake_engine(path: Path, status: int, text: str, *, hangs: bool = False) -> AsyncIterator[None]:
    """Answers everything in one way, or not at all: what no real one can be made to do."""
    over = asyncio.Event()

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        if hangs:
            await over.wait()
        return web.Response(status=status, text=text)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        over.set()
        await runner.cleanup()


@pytest.mark.parametrize(("newest", "oldest"), [("1.40", "1.12"), ("1.99", "1.98"), ("", "")])
async def test_no_version_in_common(tmp_path: Path, newest: str, oldest: str) -> None:
    said = json.dumps({"Version": "1.0", "ApiVersion": newest, "MinAPIVersion": oldest})
    async with fake_engine(tmp_path / "d.sock", 200, said):
        engine = Engine(tmp_path / "d.sock")
        with pytest.raises(EngineTooOld, match=r"needs one of 1\.41 to "):
            await engine.connect()
        await engine.close()


async def test_a_newer_engine_speaks_the_newest_that_we_know(tmp_path: Path) -> None:
    said = json.dumps({"Version": "29.0", "ApiVersion": "1.52", "MinAPIVersion": "1.44"})
    async with fake_engine(tmp_path / "d.sock", 200, said):
        engine = Engine(tmp_path / "d.sock")
        await engine.connect()
        assert engine.api_version == (1, 47)
        await engine.close()


async def test_an_engine_that_hangs(tmp_path: Path) -> None:
    async with fake_engine(tmp_path / "d.sock", 200, "", hangs=True):
        engine = Engine(tmp_path / "d.sock", timeout_s=0.2)
        with pytest.raises(EngineUnavailable, match=r"GET /version: no answer in 0\.2 s"):
            await engine.connect()
        await engine.close()


async def test_an_answer_that_is_not_the_engines(tmp_path: Path) -> None:
    async with fake_engine(tmp_path / "d.sock", 502, "<html>proxy</html>"):
        engine = Engine(tmp_path / "d.sock")
        with pytest.raises(EngineFailed, match="proxy"):
            await engine.connect()
        with pytest.raises(EngineFailed, match="proxy"):
            await engine.hijack("/exec/x/start", {})
        await engine.close()
