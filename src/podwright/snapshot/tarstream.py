"""Tar headers as data: a reader of the dialects that layers are written in, sans-IO and memory-safe.

The layer worker calls it with bytes of an untrusted stream. It understands v7, ustar, GNU (long names, base-256
numbers, sparse files) and pax (long names, xattrs, sparse 0.0, 0.1 and 1.0), and treats what is ambiguous as Go's
archive/tar does, because that is what builders and the other runtimes use. It never touches a file.

Why not libarchive or the standard library's tarfile: libarchive normalises names of pax headers to NFC, so that
files get a name their image did not give them, and drops POSIX ACLs written as xattrs; tarfile spends 100 µs on a
header. https://www.freebsd.org/cgi/man.cgi?query=tar&sektion=5, POSIX.1-2017 pax "pax Header Block".
"""

from __future__ import annotations

import base64
import struct
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

BLOCK = 512
# Go's archive/tar has the same limit for a header's payload (maxSpecialFileSize).
MAX_SPECIAL_BYTES = 1024 * 1024

REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_SPARSE, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"S", b"L", b"K", b"x", b"g"
_KINDS = {REGULAR: REGULAR, b"\0": REGULAR, b"7": REGULAR, _SPARSE: REGULAR} | {
    kind: kind for kind in (HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)
}
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
_ZEROS = bytes(BLOCK)


class TarError(Exception):
    """The stream is not a tar archive, or one that says two things at once."""


@dataclass(slots=True)
class Member:
    """One header. `size` is that of the file, `stored` how many bytes of it follow in the stream.

    `sparse` lists (offset, length) of what is stored, in order; None when the file has no holes. Times are in
    nanoseconds. Names are bytes, just as they are written.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    stored: int
    mtime_ns: int
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: list[tuple[int, int]] | None = None


class TarReader:
    """Members of a stream, one after the other. `read(n)` gives exactly n bytes, fewer only at the end of the stream.

    The caller of `next` must take exactly `stored` bytes, and the padding after them, before it calls again:
    `padding(stored)` says how many those are.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def next(self) -> Member | None:
        """The next member, or None at the end of the archive. Raises TarError."""
        pax: dict[bytes, bytes] = {}
        sparse_pairs: list[bytes] = []
        long_name = long_link = b""
        while True:
            block = self._header_block()
            if block is None:
                if pax or long_name or long_link:
                    raise TarError("the archive ends after an extended header")
                return None
            fields = _HEADER.unpack(block)
            _verify_checksum(block, fields[6])
            kind = fields[7]
            if kind in (_PAX, _PAX_GLOBAL, b"X"):
                records, pairs = _pax_records(self._special(fields[4]))
                if kind != _PAX_GLOBAL:  # global headers: ignored, as Go's readers of layers do
                    pax, sparse_pairs = records, pairs
            elif kind == _LONG_NAME:
                long_name = _text(self._special(fields[4]))
            elif kind == _LONG_LINK:
                long_link = _text(self._special(fields[4]))
            else:
                return self._member(block, fields, pax, sparse_pairs, long_name, long_link)

    def _header_block(self) -> bytes | None:
        block = self._read(BLOCK)
        if not block:
            return None
        if len(block) < BLOCK:
            raise TarError("the archive ends in the middle of a header")
        if block != _ZEROS:
            return block
        second = self._read(BLOCK)
        if second and second != _ZEROS:
            raise TarError("a block of zeros is followed by something else")
        return None

    def _special(self, size_field: bytes) -> bytes:
        size = _number(size_field, "size")
        if not 0 <= size <= MAX_SPECIAL_BYTES:
            raise TarError(f"an extended header of {size} bytes is larger than {MAX_SPECIAL_BYTES}")
        data = self._read(size + padding(size))
        if len(data) < size:
            raise TarError("the archive ends in an extended header")
        return data[:size]

    def _member(
        self,
        block: bytes,
        fields: tuple[bytes, ...],
        pax: dict[bytes, bytes],
        sparse_pairs: list[bytes],
        long_name: bytes,
        long_link: bytes,
    ) -> Member:
        name = pax.get(b"path") or long_name or _header_name(block, fields)
        kind = _KINDS.get(fields[7])
        if kind is None:
            raise TarError(f"entry {printable(name)}: type {fields[7]!r} is not known in layers")
        size = _pax_int(pax, b"size") if b"size" in pax else _number(fields[4], "size")
        if size < 0:
            raise TarError(f"entry {printable(name)}: negative size")
        if fields[7] in (b"0", b"\0") and name.endswith(b"/"):
            kind = DIRECTORY
        member = Member(
            name, kind, _number(fields[1], "mode") & 0o7777,
            _pax_int(pax, b"uid") if b"uid" in pax else _number(fields[2], "uid"),
            _pax_int(pax, b"gid") if b"gid" in pax else _number(fields[3], "gid"),
            size, size if kind == REGULAR else 0,
            _pax_time(pax[b"mtime"]) if b"mtime" in pax else _number(fields[5], "mtime") * 1_000_000_000,
            pax.get(b"linkpath") or long_link or _text(fields[8]),
        )  # fmt: skip
        if kind in (CHARACTER, BLOCK_DEVICE):
            member.device = (_number(fields[12], "devmajor"), _number(fields[13], "devminor"))
        if pax:
            member.xattrs = _xattrs(pax)
        if kind == REGULAR:
            self._apply_sparse(member, block, fields[7], pax, sparse_pairs)
        return member

    def _apply_sparse(
        self, member: Member, block: bytes, flag: bytes, pax: dict[bytes, bytes], pairs: list[bytes]
    ) -> None:
        if flag == _SPARSE:
            member.sparse, member.size = self._old_gnu_map(block)
        elif pax.get(b"GNU.sparse.major") == b"1" and pax.get(b"GNU.sparse.minor") == b"0":
            member.sparse = self._map_in_data(member)
            member.name = pax.get(b"GNU.sparse.name") or member.name
            member.size = _pax_int(pax, b"GNU.sparse.realsize")
        elif b"GNU.sparse.map" in pax or pairs:
            numbers = pax[b"GNU.sparse.map"].split(b",") if b"GNU.sparse.map" in pax else pairs
            member.sparse = _pairs([_decimal(number) for number in numbers if number])
            member.name = pax.get(b"GNU.sparse.name") or member.name
            member.size = _pax_int(pax, b"GNU.sparse.size")
        if member.sparse is not None:
            _validate_sparse(member)

    def _old_gnu_map(self, block: bytes) -> tuple[list[tuple[int, int]], int]:
        """GNU's first sparse format: four pieces in the header, 21 in each block that follows."""
        numbers = [block[at : at + 12] for at in range(386, 386 + 4 * 24, 12)]
        size, extended, total = _number(block[483:495], "realsize"), block[482], 0
        while extended:
            more = self._read(BLOCK)
            total += BLOCK
            if len(more) < BLOCK or total > MAX_SPECIAL_BYTES:
                raise TarError("a sparse map is too long or cut short")
            numbers += [more[at : at + 12] for at in range(0, 21 * 24, 12)]
            extended = more[504]
        pairs = []
        for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
            if offset[:1] == b"\0" or length[:1] == b"\0":  # an unused slot ends the map
                break
            pairs.append((_number(offset, "sparse offset"), _number(length, "sparse length")))
        return pairs, size

    def _map_in_data(self, member: Member) -> list[tuple[int, int]]:
        """Pax sparse 1.0: the file's data begins with the map, in decimal lines, padded to a block."""
        lines: list[bytes] = []
        rest, taken, wanted = b"", 0, 1
        while len(lines) < wanted:
            block = self._read(BLOCK)
            taken += BLOCK
            if len(block) < BLOCK or taken > min(member.stored, MAX_SPECIAL_BYTES):
                raise TarError(f"entry {printable(member.name)}: its sparse map is too long or cut short")
            *complete, rest = (rest + block).split(b"\n")
            lines += complete
            if lines and wanted == 1:
                wanted = 1 + 2 * _decimal(lines[0])
        member.stored -= taken
        return _pairs([_decimal(line) for line in lines[1:wanted]])


def padding(size: int) -> int:
    """How many bytes fill the last block of `size` bytes."""
    return -size % BLOCK


def printable(name: bytes) -> str:
    """A name for messages: quoted, and not longer than a person reads."""
    text = name.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 200 else text[:200] + "…")


def _verify_checksum(block: bytes, field_: bytes) -> None:
    try:
        wanted = _number(field_, "checksum")
    except TarError:
        wanted = -1
    unsigned = sum(block) - sum(field_) + 8 * 0x20
    if wanted == unsigned:
        return
    signed = unsigned - 256 * sum(1 for byte in block[:148] + block[156:] if byte > 127)
    if wanted != signed:  # some old writers summed signed characters
        raise TarError("not a tar header (its checksum is wrong)")


def _header_name(block: bytes, fields: tuple[bytes, ...]) -> bytes:
    name = _text(fields[0])
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:476] if block[508:512] == b"tar\0" else fields[14])  # star keeps times behind it
        if prefix:
            return prefix + b"/" + name
    return name


def _text(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


@lru_cache(maxsize=1024)  # modes and owners repeat
def _number(raw: bytes, what: str) -> int:
    """Octal digits, or base 256 when the first bit is set (GNU)."""
    if raw and raw[0] & 0x80:
        value = int.from_bytes(raw, "big")
        bits = 8 * len(raw)
        negative = bool(raw[0] & 0x40)
        value &= (1 << (bits - 1)) - 1
        value -= 1 << (bits - 1) if negative else 0
        if not -(1 << 63) <= value < 1 << 63:
            raise TarError(f"the {what} does not fit 64 bits")
        return value
    digits = raw.strip(b" \0").partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise TarError(f"{what} {digits!r} is not a number")
    try:
        return int(digits, 8)
    except ValueError as error:
        raise TarError(f"{what} {digits!r} is not an octal number") from error


def _pax_records(data: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Records 'LENGTH KEY=VALUE\\n'. Of sparse format 0.0 the repeated keys are given apart, in order."""
    records: dict[bytes, bytes] = {}
    pairs: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = _decimal(data[at:space]) if space > 0 else 0
        end = at + length
        if length < 5 or end > len(data) or data[end - 1 : end] != b"\n" or end <= space:
            raise TarError("a pax record is malformed")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise TarError("a pax record has no key")
        if key in (b"path", b"linkpath", b"uname", b"gname") and b"\0" in value:
            raise TarError(f"pax record {printable(key)} holds a zero byte")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pairs.append(value)
        elif key != b"GNU.sparse.map" or not pairs:
            records[key] = value
        at = end
    return records, pairs


def _xattrs(pax: dict[bytes, bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for key, value in pax.items():
        if key.startswith(b"SCHILY.xattr."):
            found[key[13:]] = value
        elif key.startswith(b"LIBARCHIVE.xattr."):
            try:
                found.setdefault(urllib.parse.unquote_to_bytes(key[17:]), base64.b64decode(value + b"=="))
            except ValueError as error:
                raise TarError(f"pax record {printable(key)} is not base64") from error
    return found


def _decimal(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > 20:
        raise TarError(f"{printable(raw)} is not a number")
    return int(raw)


def _pax_int(pax: dict[bytes, bytes], key: bytes) -> int:
    raw = pax.get(key, b"")
    return -_decimal(raw[1:]) if raw.startswith(b"-") else _decimal(raw)


def _pax_time(raw: bytes) -> int:
    """Decimal seconds with an optional fraction, to nanoseconds."""
    whole, _, fraction = raw.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    nanoseconds = _decimal((fraction[:9] or b"0").ljust(9, b"0"))
    return sign * (_decimal(whole.lstrip(b"+-") or b"0") * 1_000_000_000 + nanoseconds)


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise TarError("a sparse map has an odd number of values")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _validate_sparse(member: Member) -> None:
    at = total = 0
    for offset, length in member.sparse or ():
        if offset < at or offset + length > member.size:
            raise TarError(f"entry {printable(member.name)}: its sparse map is out of order or past its end")
        at = offset + length
        total += length
    if total != member.stored:
        raise TarError(f"entry {printable(member.name)}: its sparse map does not fit its data")
