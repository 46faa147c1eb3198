"""The HTTP side: tokens, limits, TLS, addresses."""

import asyncio
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from podwright.base.errors import FailedPrecondition, ResourceExhausted, Unavailable
from podwright.base.streams import ProcessStreams
from podwright.linux.process import run as run_program
from podwright.streaming import client
from podwright.streaming.base import Attach, Exec, PortForward, Wanted
from podwright.streaming.server import StreamingServer
from podwright.streaming.settings import Settings
from podwright.wire.remotecommand import Outcome
from tests.support import names
from tests.support.streaming import Collected, HostBackend, serving

OUTPUT = Wanted(stdout=True)
ECHO = Exec("container", ("echo", "hi"), OUTPUT)
V4 = "v4.channel.k8s.io"
UPGRADE = f"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {V4}\r\n"


async def echo(url: str) -> tuple[Outcome, bytes]:
    out = Collected()
    async with asyncio.timeout(30):
        return await client.remote_command(url, OUTPUT, ProcessStreams(None, out)), bytes(out.data)


async def ask(server: StreamingServer, text: str) -> bytes:
    """Whatever comes back for some bytes, until the server ends the connection."""
    parts = urlsplit(server.url(ECHO))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        async with asyncio.timeout(30):
            writer.write(text.replace("PATH", parts.path).encode())
            return await reader.read()
    finally:
        writer.close()


async def test_a_url_works_once() -> None:
    async with serving() as server:
        url = server.url(ECHO)
        assert await echo(url) == (Outcome(), b"hi\n")
        with pytest.raises(Unavailable, match=r"404.*has been used"):
            await echo(url)


async def test_a_token_is_good_for_its_own_verb() -> None:
    async with serving() as server:
        for request in (Attach("c", OUTPUT), PortForward("p")):
            url = server.url(request)
            token = url.rpartition("/")[2]
            with pytest.raises(Unavailable, match="404"):
                await echo(f"{url.rpartition('/')[0].rpartition('/')[0]}/exec/{token}")
            # And it is used up by the attempt.
            with pytest.raises(Unavailable, match="404"):
                await echo(url)
        with pytest.raises(Unavailable, match="404"):
            await echo(server.url(ECHO)[:-3])


async def test_urls_expire_and_are_limited() -> None:
    async with serving(token_lifetime_s=0.05, max_tokens=2) as server:
        url = server.url(ECHO)
        server.url(ECHO)
        with pytest.raises(ResourceExhausted):
            server.url(ECHO)
        await asyncio.sleep(0.06)
        with pytest.raises(Unavailable, match="expired"):
            await echo(url)
        server.url(ECHO)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (f"PUT PATH HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n", b"405"),
        (f"GET / HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n", b"404"),
        (f"GET /exec/ HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n", b"404"),
        ("GET PATH HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        ("GET PATH HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"400"),
        ("GET PATH HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n", b"403"),
        ("GET PATH HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"400"),
        (f"POST PATH HTTP/1.1\r\nHost: x\r\n{UPGRADE}Content-Length: 3\r\n\r\nabc", b"400"),
        ("nonsense\r\n\r\n", b"400"),
        ("GET PATH HTTP/1.1\r\nHost: x\r\n" + "A: " + 100_000 * "a", b"431"),
        ("GET PATH HTTP/1.1\r\nHost: x\r\n" + 20_000 * "A: b\r\n", b"431"),
        ("GET /" + 100_000 * "a", b"431"),
    ],
)
async def test_requests_that_are_refused(request_text: str, status: bytes) -> None:
    async with serving() as server:
        assert (await ask(server, request_text)).startswith(b"HTTP/1.1 " + status)


async def test_the_protocol_may_begin_with_the_request() -> None:
    """What follows the head in the same packet is not lost."""
    ping = "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01"
    async with serving(creation_timeout_s=0.1) as server:
        parts = urlsplit(server.url(ECHO))
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n{ping}".encode("latin-1"))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert answer.endswith(ping.encode("latin-1"))
        writer.close()


async def test_who_says_nothing_is_left_alone_with_it() -> None:
    async with serving(creation_timeout_s=0.05) as server:
        assert await ask(server, "GET PA") == b""


async def test_strangers_are_limited_and_guests_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podwright.streaming.server._STRANGER_LIMIT", 3)
    async with serving() as server:
        guest = server.url(Attach("c", OUTPUT))
        parts = urlsplit(guest)
        async with client.dial(guest, V4):
            strangers = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(10)]
            ended = 0
            for reader, _ in strangers:
                try:
                    async with asyncio.timeout(0.1):
                        ended += not await reader.read()
                except ConnectionError:
                    ended += 1
                except TimeoutError:
                    pass
            assert ended == 7
            for _, writer in strangers:
                writer.close()
        while len(server):
            await asyncio.sleep(0.001)
        assert await echo(server.url(ECHO)) == (Outcome(), b"hi\n")


async def test_a_connection_on_which_nothing_moves_is_ended() -> None:
    async with serving(idle_timeout_s=0.1) as server:
        wanted = Wanted(stdout=True)
        async with client.dial(server.url(Attach("c", wanted)), V4) as connection:
            streams = [await connection.open({"streamtype": kind}) for kind in ("error", "stdout")]
            with pytest.raises(ConnectionError):
                await streams[0].read()
        while len(server):
            await asyncio.sleep(0.001)


async def certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "server.crt", directory / "server.key"
    await run_program(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=node", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    )  # fmt: skip
    return certificate, key


async def test_tls(tmp_path: Path) -> None:
    crt, key = await certificate(tmp_path)
    async with serving(tls_certificate=crt, tls_key=key) as server:
        url = server.url(ECHO)
        assert url.startswith("https://127.0.0.1:")
        assert await echo(url) == (Outcome(), b"hi\n")
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert not (await reader.read()).startswith(b"HTTP/1.1 2")
        writer.close()
        context = ssl.create_default_context(cafile=crt)
        _, checked = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
        checked.close()
        await checked.wait_closed()


async def test_tls_that_can_not_be(tmp_path: Path) -> None:
    crt, key = await certificate(tmp_path)
    for settings, words in (
        (Settings(tls_certificate=crt), "give both"),
        (Settings(tls_key=key), "give both"),
        (Settings(tls_certificate=crt, tls_key=crt), "can't use"),
        (Settings(tls_certificate=tmp_path / "none", tls_key=key), "can't use"),
    ):
        with pytest.raises(FailedPrecondition, match=words):
            await StreamingServer(settings, HostBackend()).start()


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]")]
)
async def test_addresses(address: str, host: str) -> None:
    async with serving(address=address) as server:
        url = server.url(ECHO)
        assert url.startswith(f"http://{host}:")
        assert await echo(url) == (Outcome(), b"hi\n")


async def test_addresses_that_can_not_be_listened_on() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for settings in ({"port": taken.getsockname()[1]}, {"address": "192.0.2.1"}, {"port": 70000}):
            with pytest.raises(FailedPrecondition, match=r"streaming\.address, streaming\.port"):
                async with serving(**settings):
                    pass


async def test_a_port_of_ones_own() -> None:
    port = names.free_port()
    async with serving(port=port) as server:
        assert urlsplit(server.url(ECHO)).port == port


async def test_without_a_server_there_is_no_url() -> None:
    with pytest.raises(FailedPrecondition, match="not running"):
        StreamingServer(Settings(), HostBackend()).url(ECHO)
