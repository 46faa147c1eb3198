"""Name/value header blocks: compressed by one zlib stream a direction, with the draft's dictionary, and bounded.

A block of some bytes can inflate to megabytes, and one of many small fields becomes many objects; both are refused
before they take memory (CVE-2026-35469 is a peer's experience). Source: SPDY protocol draft 3.1, section 2.6.10.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from podwright.wire.spdy.dictionary import DICTIONARY
from podwright.wire.spdy.frames import SpdyError

BLOCK_LIMIT_BYTES = 64 * 1024
FIELD_LIMIT = 64

_LENGTH = struct.Struct(">I")


class HeaderCompressor:
    """Headers to blocks."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zdict=DICTIONARY)

    def compress(self, headers: Mapping[str, str]) -> bytes:
        """A block; names are written in lower case, which the draft wants."""
        plain = bytearray(_LENGTH.pack(len(headers)))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                plain += _LENGTH.pack(len(text)) + text
        return self._zlib.compress(bytes(plain)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecompressor:
    """Blocks to headers."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def decompress(self, block: bytes) -> dict[str, str]:
        """The headers of a block, names in lower case. Raises SpdyError; the connection is lost then, as the
        compression's state is."""
        try:
            plain = self._zlib.decompress(block, BLOCK_LIMIT_BYTES + 1)
        except zlib.error as error:
            raise SpdyError(f"a header block can't be decompressed: {error}") from None
        if len(plain) > BLOCK_LIMIT_BYTES or self._zlib.unconsumed_tail:
            raise SpdyError(f"a header block has more than {BLOCK_LIMIT_BYTES} bytes")
        return _parse(plain)


def _parse(plain: bytes) -> dict[str, str]:
    count, at = _number(plain, 0)
    if count > FIELD_LIMIT:
        raise SpdyError(f"a header block has {count} fields, more than {FIELD_LIMIT}")
    headers: dict[str, str] = {}
    for _ in range(count):
        name, at = _text(plain, at)
        value, at = _text(plain, at)
        if not name or name.lower() in headers:
            raise SpdyError(f"a header block has the name {name!r} empty or twice")
        headers[name.lower()] = value
    return headers


def _number(plain: bytes, at: int) -> tuple[int, int]:
    if len(plain) < at + 4:
        raise SpdyError("a header block ends early")
    return _LENGTH.unpack_from(plain, at)[0], at + 4


def _text(plain: bytes, at: int) -> tuple[str, int]:
    length, at = _number(plain, at)
    if length > len(plain) - at:
        raise SpdyError("a header block ends early")
    return plain[at : at + length].decode("latin-1"), at + length
