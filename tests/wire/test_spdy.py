"""SPDY: byte literals, dialogues between the two roles, limits, and anything hypothesis can think of."""

import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.spdy import (
    Connection,
    DataReceived,
    Event,
    GoneAway,
    ReplyReceived,
    SpdyError,
    Status,
    StreamEnded,
    StreamOpened,
    StreamReset,
)
from podwright.wire.spdy.connection import STREAM_LIMIT
from podwright.wire.spdy.dictionary import DICTIONARY
from podwright.wire.spdy.frames import CONTROL_LIMIT_BYTES, FrameReader
from podwright.wire.spdy.headers import BLOCK_LIMIT_BYTES, FIELD_LIMIT, HeaderCompressor, HeaderDecompressor


def pair() -> tuple[Connection, Connection]:
    return Connection(client=True), Connection(client=False)


def pass_on(sender: Connection, receiver: Connection) -> list[Event]:
    return list(receiver.receive_data(sender.data_to_send()))


def opened() -> tuple[Connection, Connection, int]:
    client, server = pair()
    stream = client.open_stream({"streamtype": "stdout"})
    pass_on(client, server)
    server.accept(stream)
    assert pass_on(server, client) == [ReplyReceived(stream)]
    return client, server, stream


def syn_stream(stream_id: int, block: bytes, flags: int = 0) -> bytes:
    payload = struct.pack(">II", stream_id, 0) + b"\0\0" + block
    return struct.pack(">HHI", 0x8003, 1, flags << 24 | len(payload)) + payload


def test_the_dictionary_is_the_one_that_every_peer_has() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)
    # zlib's header names the dictionary by its checksum, RFC 1950.
    assert HeaderCompressor().compress({})[:6] == bytes.fromhex("78f9e3c6a7c2")


def test_frames_as_bytes() -> None:
    client, server, stream = opened()
    client.send_data(stream, b"hi")
    client.send_data(stream, b"", fin=True)
    client.reset(stream)
    client.ping(1)
    client.go_away()
    assert client.data_to_send() == bytes.fromhex(
        "00000001 00000002 6869"  # DATA, stream 1
        "00000001 01000000"  # DATA with FIN
        "80030003 00000008 00000001 00000005"  # RST_STREAM, CANCEL
        "80030006 00000004 00000003"  # PING, odd from a client
        "80030007 00000008 00000000 00000000"  # GOAWAY
    )
    assert len(server) == 1


def test_a_dialogue_with_half_close() -> None:
    client, server = pair()
    stream = client.open_stream({"StreamType": "stdin", "requestID": "7"})
    assert pass_on(client, server) == [StreamOpened(stream, {"streamtype": "stdin", "requestid": "7"})]
    server.accept(stream)
    assert pass_on(server, client) == [ReplyReceived(stream)]
    client.send_data(stream, b"abc", fin=True)
    assert pass_on(client, server) == [DataReceived(stream, b"abc"), StreamEnded(stream)]
    with pytest.raises(ConnectionError):
        client.send_data(stream, b"more")
    server.send_data(stream, b"still open")
    server.send_data(stream, b"", fin=True)
    assert pass_on(server, client) == [DataReceived(stream, b"still open"), StreamEnded(stream)]
    assert (len(client), len(server)) == (0, 0)


def test_a_reset_ends_both_halves_and_what_was_under_way_is_dropped() -> None:
    client, server, stream = opened()
    client.send_data(stream, b"under way")
    late = client.data_to_send()
    server.reset(stream, Status.REFUSED_STREAM)
    assert list(server.receive_data(late)) == []
    assert pass_on(server, client) == [StreamReset(stream, Status.REFUSED_STREAM)]
    assert (len(client), len(server)) == (0, 0)
    with pytest.raises(ConnectionError):
        client.send_data(stream, b"more")
    client.reset(stream)
    assert client.data_to_send() == b""


def test_pings_are_answered_and_answers_are_not() -> None:
    client, server = pair()
    client.ping(5)
    assert pass_on(client, server) == []
    assert pass_on(server, client) == []
    assert client.data_to_send() == b""


def test_what_peers_send_and_nobody_needs_is_skipped() -> None:
    client, server, stream = opened()
    settings = bytes.fromhex("80030004 0000000c 00000001 04000004 00000064")
    window_update = bytes.fromhex("80030009 00000008 00000001 00010000")
    unknown = bytes.fromhex("8003000b 00000002 abcd")
    client.send_data(stream, b"x")
    data = settings + window_update + unknown + client.data_to_send()
    assert list(server.receive_data(data)) == [DataReceived(stream, b"x")]
    client.go_away()
    assert pass_on(client, server) == [GoneAway()]


def test_data_comes_out_as_it_arrives_and_a_frame_is_never_held() -> None:
    client, server, stream = opened()
    client.send_data(stream, b"a" * 100_000, fin=True)
    data = client.data_to_send()
    first = list(server.receive_data(data[:1000]))
    assert first == [DataReceived(stream, b"a" * 992)]
    rest = list(server.receive_data(data[1000:]))
    assert rest == [DataReceived(stream, b"a" * (100_000 - 992)), StreamEnded(stream)]


@given(st.lists(st.integers(1, 40)), st.binary(max_size=200))
def test_how_bytes_are_cut_changes_nothing(cuts: list[int], payload: bytes) -> None:
    def all_bytes() -> bytes:
        client, server = pair()
        first = client.open_stream({"a": "b"})
        out = client.data_to_send()
        list(server.receive_data(out))
        client.send_data(first, payload, fin=True)
        client.ping(3)
        client.open_stream({"c": "d"})
        client.reset(first)
        return out + client.data_to_send()

    def joined(events: Iterable[Event]) -> list[Event]:
        found: list[Event] = []
        for event in events:
            if isinstance(event, DataReceived) and found and isinstance(found[-1], DataReceived):
                found[-1] = DataReceived(event.stream_id, found[-1].data + event.data)
            else:
                found.append(event)
        return found

    data = all_bytes()
    whole, pieces = Connection(client=False), Connection(client=False)
    in_pieces: list[Event] = []
    at = 0
    for cut in [*cuts, len(data)]:
        in_pieces += pieces.receive_data(data[at : at + cut])
        at += cut
    assert joined(in_pieces) == joined(whole.receive_data(data))


@given(st.binary(max_size=400))
def test_any_bytes_are_events_or_a_clear_error(data: bytes) -> None:
    _client, server, _stream = opened()
    with suppress(SpdyError):
        for event in server.receive_data(data):
            assert isinstance(event, Event)


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(max_size=64))
def test_any_control_frame_is_an_event_or_a_clear_error(kind: int, flags: int, payload: bytes) -> None:
    _client, server, _stream = opened()
    frame = struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload
    with suppress(SpdyError):
        for event in server.receive_data(frame):
            assert isinstance(event, Event)


@given(st.dictionaries(st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1), st.text(max_size=50), max_size=20))
def test_headers_survive_and_the_compression_spans_blocks(headers: dict[str, str]) -> None:
    compressor, decompressor = HeaderCompressor(), HeaderDecompressor()
    for _ in range(3):
        found = decompressor.decompress(compressor.compress(headers))
        assert {name: value.encode("latin-1").decode() for name, value in found.items()} == headers


def block_of(plain: bytes) -> bytes:
    compress = zlib.compressobj(zdict=DICTIONARY)
    return compress.compress(plain) + compress.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (block_of(bytes(8_000_000)), f"more than {BLOCK_LIMIT_BYTES}"),
        (block_of(struct.pack(">I", FIELD_LIMIT + 1)), "fields"),
        (block_of(struct.pack(">I", 0xFFFFFFFF)), "fields"),
        (block_of(struct.pack(">III", 1, 0xFFFFFFFF, 0)), "ends early"),
        (block_of(struct.pack(">II", 1, 1) + b"a"), "ends early"),
        (block_of(struct.pack(">III", 1, 0, 0)), "empty or twice"),
        (block_of(struct.pack(">II", 2, 1) + b"a" + struct.pack(">II", 0, 1) + b"A" + bytes(4)), "empty or twice"),
        (b"", "ends early"),
        (b"no zlib", "decompressed"),
        (zlib.compress(b"\0\0\0\0"), "ends early"),
    ],
)
def test_header_blocks_that_are_refused(block: bytes, words: str) -> None:
    server = Connection(client=False)
    if words == "ends early" and block.startswith(b"\x78\x9c"):
        assert list(server.receive_data(syn_stream(1, block))) == [StreamOpened(1, {})]  # zlib needs no dictionary
        return
    assert len(block) < CONTROL_LIMIT_BYTES
    with pytest.raises(SpdyError, match=words):
        list(server.receive_data(syn_stream(1, block)))


def test_a_control_frame_that_is_too_long_is_refused_at_its_head() -> None:
    with pytest.raises(SpdyError, match="more than"):
        list(FrameReader().feed(struct.pack(">HHI", 0x8003, 1, CONTROL_LIMIT_BYTES + 1)))
    with pytest.raises(SpdyError, match="is this SPDY"):
        list(FrameReader().feed(struct.pack(">HHI", 0x8002, 1, 4)))


def test_stream_ids_must_grow_and_be_the_peers() -> None:
    compressor, server = HeaderCompressor(), Connection(client=False)
    assert list(server.receive_data(syn_stream(5, compressor.compress({})))) == [StreamOpened(5, {})]
    with pytest.raises(SpdyError, match="stream 3"):
        list(server.receive_data(syn_stream(3, compressor.compress({}))))
    for wrong in (0, 2, 0x80000001):
        with pytest.raises(SpdyError, match="not the peer's"):
            list(Connection(client=False).receive_data(syn_stream(wrong, HeaderCompressor().compress({}))))


def test_streams_beyond_the_limit_are_refused_and_the_connection_goes_on() -> None:
    client, server = pair()
    for _ in range(STREAM_LIMIT):
        client.open_stream({})
    assert len(pass_on(client, server)) == STREAM_LIMIT
    one_more = client.open_stream({"a": "b"})
    assert pass_on(client, server) == []
    assert pass_on(server, client) == [StreamReset(one_more, Status.REFUSED_STREAM)]
    client.reset(1)
    again = client.open_stream({"a": "b"})
    assert pass_on(client, server) == [StreamReset(1, Status.CANCEL), StreamOpened(again, {"a": "b"})]


def test_a_stream_that_is_opened_ended() -> None:
    server = Connection(client=False)
    found = list(server.receive_data(syn_stream(1, HeaderCompressor().compress({}), flags=1)))
    assert found == [StreamOpened(1, {}), StreamEnded(1)]


def test_a_thousand_opened_and_reset_streams_leave_nothing() -> None:
    client, server = pair()
    for _ in range(1000):
        client.reset(client.open_stream({"streamtype": "data"}))
        pass_on(client, server)
    assert (len(client), len(server)) == (0, 0)


def test_large_data_becomes_frames_that_are_allowed() -> None:
    client, server, stream = opened()
    size = 0xFFFFFF + 10
    client.send_data(stream, bytes(size), fin=True)
    events = pass_on(client, server)
    assert sum(len(event.data) for event in events if isinstance(event, DataReceived)) == size
    assert events[-1] == StreamEnded(stream)
