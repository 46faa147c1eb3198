"""NRI's multiplexer: byte literals, pieces that upstream's reader can take, anything hypothesis can think of."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import nri_mux, ttrpc


def test_a_short_message_is_one_payload() -> None:
    assert nri_mux.encode(nri_mux.RUNTIME_SERVICE, b"abc") == bytes.fromhex("00000002 00000003") + b"abc"


def test_a_long_message_is_a_buffer_full_and_the_rest() -> None:
    """Upstream's plugins read the first payload into 4096 bytes, and the second straight to its place."""
    encoded = nri_mux.encode(1, bytes(5000))
    assert struct.unpack_from(">II", encoded) == (1, 4096)
    assert struct.unpack_from(">II", encoded, 8 + 4096) == (1, 904)
    assert len(encoded) == 5000 + 16
    assert len(nri_mux.encode(1, bytes(4096))) == 4096 + 8


def test_a_payload_longer_than_any_message_is_refused() -> None:
    with pytest.raises(ttrpc.ProtocolError, match="4194315 bytes on connection 1"):
        list(nri_mux.Decoder().feed(struct.pack(">II", 1, nri_mux.PAYLOAD_LIMIT_BYTES + 1)))


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=9000)), max_size=5), st.integers(1, 5000))
def test_streams_survive_the_wire(messages: list[tuple[int, bytes]], size: int) -> None:
    wire = b"".join(nri_mux.encode(connection, data) for connection, data in messages)
    decoder, streams = nri_mux.Decoder(), {connection: b"" for connection, _ in messages}
    for start in range(0, len(wire), size):
        for connection, piece in decoder.feed(wire[start : start + size]):
            streams[connection] += piece
    assert streams == {c: b"".join(data for other, data in messages if other == c) for c in streams}
