"""Layer archives built byte by byte, so that tests can write what no tar program would."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass

import zstandard

END = bytes(1024)


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int = 0,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_700_000_000,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    raw_size: bytes | None = None,
) -> bytes:
    """One ustar header; `raw_size` replaces the size field."""
    block = bytearray(512)

    def put(at: int, width: int, value: bytes) -> None:
        block[at : at + len(value[:width])] = value[:width]

    put(0, 100, name)
    for at, width, number in ((100, 8, mode), (108, 8, uid), (116, 8, gid), (124, 12, size), (136, 12, mtime),
                              (329, 8, major), (337, 8, minor)):  # fmt: skip
        put(at, width, number_field(number, width))
    if raw_size is not None:
        put(124, 12, raw_size)
    put(156, 1, kind)
    put(157, 100, link)
    put(257, 8, magic)
    put(345, 155, prefix)
    put(148, 8, b" " * 8)
    put(148, 8, b"%06o\0 " % sum(block))
    return bytes(block)


def number_field(number: int, width: int) -> bytes:
    if 0 <= number < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, number)
    sign = 0xFF if number < 0 else 0x80
    return bytes([sign]) + (number % (1 << 8 * (width - 1))).to_bytes(width - 1, "big")


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"", **fields: object) -> bytes:
    return header(name, size=len(data), **fields) + pad(data)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755, **fields: object) -> bytes:
    return header(name, b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=0o777)


def hard_link(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def pax(records: dict[bytes, bytes] | list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """An extended header for the entry that follows."""
    pairs = records.items() if isinstance(records, dict) else records
    body = b"".join(pax_record(key, value) for key, value in pairs)
    return header(b"PaxHeaders/x", kind, size=len(body)) + pad(body)


def pax_record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    total = length + len(str(total))
    return b"%d %s=%s\n" % (total, key, value)


def archive(*entries: bytes) -> bytes:
    return b"".join(entries) + END


def from_tarfile(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def diff_id(tar: bytes) -> str:
    return "sha256:" + hashlib.sha256(tar).hexdigest()


@dataclass(frozen=True)
class Blob:
    """A layer as it would lie in a registry."""

    data: bytes
    diff_id: str

    @property
    def digest(self) -> str:
        return diff_id(self.data)


def blob(tar: bytes, compression: str = "gzip") -> Blob:
    if compression == "gzip":
        return Blob(gzip.compress(tar), diff_id(tar))
    return Blob(zstandard.compress(tar) if compression == "zstd" else tar, diff_id(tar))
