"""The HTTP/1.1 side of a connection: one request, then an error or another protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11

from podwright.streaming.transport import Transport

Headers = Sequence[tuple[bytes, bytes]]


class HttpError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


@dataclass(frozen=True)
class HttpRequest:
    """The head of a request."""

    method: str
    target: str
    headers: Headers

    def tokens(self, name: str) -> list[str]:
        """The comma-separated values of all headers of a name, in order."""
        wanted = name.lower().encode()
        values = [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]
        return [token.strip() for value in values for token in value.split(",") if token.strip()]

    def upgrades_to(self, protocol: str) -> bool:
        """Whether the client asks to go on in another protocol, without regard to case."""
        connection = [token.lower() for token in self.tokens("connection")]
        return "upgrade" in connection and protocol in [token.lower() for token in self.tokens("upgrade")]


async def read_request(transport: Transport, max_header_bytes: int) -> HttpRequest:
    """The request of a new connection; what follows it is left to be read. Raises HttpError, ConnectionError."""
    wire = h11.Connection(h11.SERVER, max_incomplete_event_size=max_header_bytes)
    request: HttpRequest | None = None
    while True:
        try:
            event = wire.next_event()
        except h11.RemoteProtocolError as error:
            raise HttpError(HTTPStatus(error.error_status_hint), f"bad request: {error}") from None
        if event is h11.NEED_DATA:
            data = await transport.read()
            if not data:
                raise ConnectionResetError("the client left before its request was whole")
            wire.receive_data(data)
        elif isinstance(event, h11.Request):
            request = HttpRequest(event.method.decode("ascii"), event.target.decode("ascii"), list(event.headers))
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            transport.unread(wire.trailing_data[0])
            return request
        else:
            raise HttpError(HTTPStatus.BAD_REQUEST, "a request for a stream has no body")


async def answer_error(transport: Transport, error: HttpError) -> None:
    """Answer with an error; the connection is to be closed then."""
    body = f"{error}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"), *error.headers,
    ]  # fmt: skip
    await transport.write(_head(error.status, headers) + body)


async def switch_protocols(transport: Transport, headers: Headers) -> None:
    """Answer 101; the other protocol begins."""
    await transport.write(_head(HTTPStatus.SWITCHING_PROTOCOLS, headers))


def _head(status: HTTPStatus, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(name + b": " + value for name, value in headers)]
    return b"\r\n".join([*lines, b"", b""])
