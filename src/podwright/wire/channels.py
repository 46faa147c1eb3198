"""Streams multiplexed over WebSocket messages by a leading channel number.

A binary message is the channel's byte, then data; with the base64 protocols a text message is the channel's digit,
then base64. v5 adds the message (255, channel): that channel has ended. Source: kubernetes,
streaming/pkg/httpstream/wsstream, and KEP-4006.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
V4_BASE64 = "v4.base64.channel.k8s.io"
V1 = "channel.k8s.io"
V1_BASE64 = "base64.channel.k8s.io"


@dataclass(frozen=True, slots=True)
class ChannelData:
    """Bytes for a channel; may be none, as clients send empty messages to be heard of."""

    channel: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ChannelEnded:
    """The peer sends nothing more on a channel."""

    channel: int


class BadMessage(Exception):
    """A message that is not what the subprotocol says."""


def is_text(protocol: str) -> bool:
    """Whether messages are text in base64."""
    return "base64." in protocol


def encode(channel: int, data: bytes, protocol: str) -> bytes:
    """One message, without WebSocket's own framing."""
    if is_text(protocol):
        return str(channel).encode() + base64.b64encode(data)
    return bytes([channel]) + data


def encode_end(channel: int) -> bytes:
    """The v5 message that ends a channel."""
    return bytes([CLOSE, channel])


class ChannelReader:
    """Messages, in pieces as they arrive, to data of channels. Holds at most three bytes."""

    def __init__(self, protocol: str) -> None:
        self._text = is_text(protocol)
        self._half_close = protocol == V5
        self._channel = -1
        self._rest = b""

    def feed(self, piece: bytes, *, last: bool) -> Iterator[ChannelData | ChannelEnded]:
        """What a piece of a message brings; `last` ends the message. Raises BadMessage."""
        if self._channel < 0 and piece:
            self._channel, piece = self._number(piece[0]), piece[1:]
        if self._half_close and self._channel == CLOSE:
            yield from (ChannelEnded(channel) for channel in piece)
        elif self._channel >= 0:
            yield ChannelData(self._channel, self._decode(piece, last=last) if self._text else piece)
        if last:
            self._channel = -1

    def _number(self, first: int) -> int:
        if not self._text:
            return first
        if not 0x30 <= first <= 0x39:
            raise BadMessage(f"a message begins with {chr(first)!r}, not with a channel's digit")
        return first - 0x30

    def _decode(self, piece: bytes, *, last: bool) -> bytes:
        piece = self._rest + piece
        end = len(piece) if last else len(piece) & ~3
        self._rest = b"" if last else piece[end:]
        try:
            return base64.b64decode(piece[:end], validate=True)
        except binascii.Error as error:
            raise BadMessage(f"a message is not base64: {error}") from None
