"""One blob from one source: over one connection, and over several where one turns out to be slow.

A single connection to a far registry is often held down by its round-trip time or by the server. So a blob that
has much to go after a while, at less than a fast network's rate, is taken on in parts: parts arrive in parallel in
memory and are written in order, which keeps the content store's ingest, its hash and its resumption sequential.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podwright.base.tasks import first_error
from podwright.content.ingest import DigestMismatch, Ingest
from podwright.registry.access import Access, Asker
from podwright.registry.base import BadRegistryAnswer, BlobUnknown
from podwright.registry.hosts import Endpoint
from podwright.registry.transport import Request, Transport, shown

if TYPE_CHECKING:
    import aiohttp


PART_BYTES = 8 * 1024 * 1024
_SLOW_AFTER_S = 2.0
# A saturated gigabit line; more connections than one gain nothing there.
_FAST_BYTES_PER_S = 100e6
_WORTH_PARTS_BYTES = 4 * PART_BYTES
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)\Z")

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Source:
    """One place that may have a blob: an endpoint of the registry, or (`endpoint` None) a foreign layer's address."""

    url: str
    endpoint: Endpoint | None = None

    def __str__(self) -> str:
        return self.endpoint.host if self.endpoint else shown(self.url)


class BlobStream:
    """Brings the bytes that `ingest` lacks. A failed `fetch` leaves those that came in the ingest."""

    def __init__(
        self,
        access: Access,
        transport: Transport,
        source: Source,
        asker: Asker,
        ingest: Ingest,
        on_bytes: OnBytes,
        *,
        connections: int,
        in_parts: asyncio.Semaphore,
    ) -> None:
        self._access, self._transport = access, transport
        self._source, self._asker, self._ingest, self._on_bytes = source, asker, ingest, on_bytes
        self._connections, self._in_parts = connections, in_parts
        self._what = f"blob {ingest.digest} from {source}"

    async def fetch(self) -> None:
        """Raises DigestMismatch, ResourceExhausted, and what a request can raise."""
        if await self._in_one():
            return
        async with self._in_parts:
            await self._in_several()

    async def _in_one(self) -> bool:
        """Over one connection, to the end (True), or until parts promise to be faster (False)."""
        offset = self._ingest.received
        loop = asyncio.get_running_loop()
        async with self._open(offset, None) as response:
            skip = self._skip(response, offset)
            may_part = self._connections > 1 and _serves_ranges(response)
            began = loop.time()
            async for received, _ in response.content.iter_chunks():
                chunk = received[skip:] if skip else received
                skip -= len(received) - len(chunk)
                if chunk:
                    await self._take(chunk)
                if may_part and self._is_slow(offset, loop.time() - began):
                    return False
        return True

    def _is_slow(self, offset: int, elapsed_s: float) -> bool:
        if elapsed_s < _SLOW_AFTER_S or self._in_parts.locked():
            return False
        rate = (self._ingest.received - offset) / elapsed_s
        missing = self._ingest.size - self._ingest.received
        return rate < _FAST_BYTES_PER_S and missing > max(_WORTH_PARTS_BYTES, rate * _SLOW_AFTER_S)

    async def _in_several(self) -> None:
        """As many parts at a time as there may be connections; each is written when those before it are."""
        begin, end = self._ingest.received, self._ingest.size
        starts = iter(range(begin, end, PART_BYTES))
        try:
            async with asyncio.TaskGroup() as group:
                running: deque[asyncio.Task[list[bytes]]] = deque()
                for _ in range(self._connections):
                    self._begin_part(group, running, starts, end)
                while running:
                    chunks = await running.popleft()
                    self._begin_part(group, running, starts, end)
                    for chunk in chunks:
                        await self._take(chunk)
        except BaseExceptionGroup as failed:
            raise first_error(failed) from failed

    def _begin_part(
        self, group: asyncio.TaskGroup, running: deque[asyncio.Task[list[bytes]]], starts: Iterator[int], end: int
    ) -> None:
        start = next(starts, None)
        if start is not None:
            running.append(group.create_task(self._part(start, min(start + PART_BYTES, end))))

    async def _part(self, start: int, end: int) -> list[bytes]:
        chunks: list[bytes] = []
        missing = end - start
        async with self._open(start, end) as response:
            if response.status != 206 or self._skip(response, start) != 0:
                raise BadRegistryAnswer(f"{self._what}: the server stopped to serve parts")
            async for chunk in response.content.iter_any():
                missing -= len(chunk)
                if missing < 0:
                    break
                chunks.append(chunk)
        if missing:
            raise BadRegistryAnswer(f"{self._what}: a part of {end - start} bytes has {end - start - missing}")
        return chunks

    async def _take(self, chunk: bytes) -> None:
        await self._ingest.write(chunk, source=self._what)
        self._on_bytes(len(chunk))

    @asynccontextmanager
    async def _open(self, start: int, end: int | None) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of 200 or 206. Addresses of foreign layers get no credentials (CVE-2020-15157)."""
        headers = {"Accept": "*/*"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if self._source.endpoint is not None:
            path = f"blobs/{self._ingest.digest}"
            async with self._access.open(self._source.endpoint, self._asker, "GET", path, headers) as response:
                yield response
            return
        async with self._transport.open(Request("GET", self._source.url, headers=headers)) as response:
            if response.status not in (200, 206):
                raise BlobUnknown(f"{self._what}: the address answers {response.status}")
            yield response

    def _skip(self, response: aiohttp.ClientResponse, start: int) -> int:
        """How many bytes to pass over until `start`, once the answer's head agrees with what was asked."""
        if response.headers.get("Content-Encoding", "identity") not in ("identity", ""):
            raise BadRegistryAnswer(f"{self._what}: it is encoded again ({response.headers['Content-Encoding']!r})")
        size = self._ingest.size
        if response.status == 206:
            match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != start:
                raise BadRegistryAnswer(f"{self._what}: the answer is another part than was asked for")
            total = int(match[3]) if match[3] else size
        else:
            total = size if response.content_length is None else response.content_length
        if total != size:
            raise DigestMismatch(f"{size} bytes", f"{total} bytes", self._what)
        return 0 if response.status == 206 else start


def _serves_ranges(response: aiohttp.ClientResponse) -> bool:
    return response.status == 206 or response.headers.get("Accept-Ranges", "").strip().lower() == "bytes"
