"""Long lists in pieces, for the Stream* calls: messages that stay far below what a client takes in one piece.

The kubelet's limit is 16 MiB a message. Items are rendered as they are sent, so that a list of any length takes the
memory of one piece; an item larger than a piece goes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import Message

CHUNK_BYTES = 1024 * 1024
CHUNK_ITEMS = 64
"""So many items take about a millisecond to render; between pieces other calls have their turn."""

M = TypeVar("M", bound=Message)
T = TypeVar("T")


def batches(things: Sequence[T], *, limit_items: int = CHUNK_ITEMS) -> Iterator[Sequence[T]]:
    """Split `things` for work that is done a part at a time."""
    return (things[start : start + limit_items] for start in range(0, len(things), limit_items))


def chunks(items: Iterable[M], *, limit_bytes: int = CHUNK_BYTES, limit_items: int = CHUNK_ITEMS) -> Iterator[list[M]]:
    """Split `items`, in order, into lists of at least one item; no items, no list."""
    chunk: list[M] = []
    size = 0
    for item in items:
        item_size = item.ByteSize()
        if chunk and (size + item_size > limit_bytes or len(chunk) == limit_items):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += item_size
    if chunk:
        yield chunk
