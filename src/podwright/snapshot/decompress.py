"""Layer blobs to plain tar bytes: gzip (also of several members), zstd (several frames, skippable ones) or neither.

Runs in the layer worker on untrusted input. What it is is told by the first bytes, because media types lie. Every
read is bounded, whatever the ratio: a few bytes of zstd can say "two gigabytes of zeros".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Protocol, cast

import zstandard
from isal import igzip_lib

# RFC 8878 lets a decoder refuse windows over 8 MiB; `zstd --long` writes up to 128 MiB.
ZSTD_MAX_WINDOW_BYTES = 128 * 1024 * 1024
_INPUT_BYTES = 256 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_OTHERS = {b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}

_ISAL_ERROR = cast("type[Exception]", igzip_lib.error)


class CompressionError(Exception):
    """The blob is cut short, damaged, or compressed in a way that layers are not."""


class Source(Protocol):
    """What a decompressor reads from, and what it is itself: at most `n` bytes, b'' at the end."""

    def read(self, n: int, /) -> bytes: ...


def open_stream(read: Callable[[int], bytes]) -> Source:
    """The plain bytes of a blob; `read(n)` gives at most n of its raw ones."""
    head = b""
    while len(head) < 6 and (more := read(6 - len(head))):
        head += more
    raw = _Prefixed(head, read)
    if head[:2] == _GZIP:
        return _Gzip(raw)
    if head[:4] == _ZSTD or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return _Zstd(raw)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise CompressionError(f"it is compressed with {name}; layers are gzip, zstd or plain tar")
    return raw


class _Prefixed:
    """A source whose first bytes were read already."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head, self._read = head, read

    def read(self, n: int, /) -> bytes:
        if self._head:
            head, self._head = self._head[:n], self._head[n:]
            return head
        return self._read(n)


class _Gzip:
    """RFC 1952: members one after the other are one stream; zeros behind the last are padding."""

    def __init__(self, raw: Source) -> None:
        self._raw = raw
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        self._rest = b""

    def read(self, n: int, /) -> bytes:
        while True:
            if self._member.eof and not self._next_member():
                return b""
            data = self._rest
            self._rest = b""
            if self._member.needs_input and not data:
                data = self._raw.read(_INPUT_BYTES)
                if not data:
                    raise CompressionError("the gzip stream is cut short")
            try:
                plain: bytes = self._member.decompress(data, n)
            except _ISAL_ERROR as error:
                raise CompressionError(f"the gzip stream is damaged: {error}") from error
            if plain:
                return plain

    def _next_member(self) -> bool:
        rest: bytes = self._member.unused_data
        while not rest.lstrip(b"\0"):
            rest = self._raw.read(_INPUT_BYTES)
            if not rest:
                return False
        rest = rest.lstrip(b"\0")
        while len(rest) < 2 and (more := self._raw.read(_INPUT_BYTES)):
            rest += more
        if rest[:2] != _GZIP:
            raise CompressionError("there is garbage behind the gzip stream")
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        self._rest = rest
        return True


class _Zstd:
    """RFC 8878: frames one after the other are one stream.

    The library doesn't tell a stream that is cut short from a whole one; the tar reader and the diff id do.
    """

    def __init__(self, raw: Source) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW_BYTES)
        self._stream = decompressor.stream_reader(
            cast("IO[bytes]", raw), read_size=_INPUT_BYTES, read_across_frames=True
        )

    def read(self, n: int, /) -> bytes:
        try:
            plain = self._stream.read(n)
        except zstandard.ZstdError as error:
            raise CompressionError(f"the zstd stream is damaged: {error}") from error
        return plain
