"""Channels in WebSocket messages."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.channels import (
    V1,
    V4,
    V4_BASE64,
    V5,
    BadMessage,
    ChannelData,
    ChannelEnded,
    ChannelReader,
    encode,
    encode_end,
)


def test_messages_as_bytes() -> None:
    assert encode(1, b"hi", V4) == b"\x01hi"
    assert encode(1, b"hi", V4_BASE64) == b"1aGk="
    assert encode_end(0) == b"\xff\x00"


@pytest.mark.parametrize("protocol", [V1, V4, V4_BASE64, V5])
@given(data=st.binary(max_size=50), cut=st.integers(0, 60), channel=st.integers(0, 9))
def test_messages_survive_in_pieces(protocol: str, data: bytes, cut: int, channel: int) -> None:
    reader, message = ChannelReader(protocol), encode(channel, data, protocol)
    for _ in range(2):
        events = [*reader.feed(message[:cut], last=False), *reader.feed(message[cut:], last=True)]
        assert {event.channel for event in events} == {channel}
        assert b"".join(event.data for event in events if isinstance(event, ChannelData)) == data


def test_only_v5_ends_channels() -> None:
    assert list(ChannelReader(V5).feed(b"\xff\x00", last=True)) == [ChannelEnded(0)]
    assert list(ChannelReader(V4).feed(b"\xff\x00", last=True)) == [ChannelData(255, b"\x00")]


def test_empty_messages() -> None:
    reader = ChannelReader(V4)
    assert list(reader.feed(b"", last=True)) == []
    assert list(reader.feed(b"\x00", last=True)) == [ChannelData(0, b"")]


@given(data=st.binary(max_size=60), last=st.booleans())
def test_any_text_is_data_or_a_clear_error(*, data: bytes, last: bool) -> None:
    with suppress(BadMessage):
        list(ChannelReader(V4_BASE64).feed(data, last=last))


def test_bad_text() -> None:
    for message in (b"xaGk=", b"0a!", b"0aGk"[:3]):
        with pytest.raises(BadMessage):
            list(ChannelReader(V4_BASE64).feed(message, last=True))
