"""ttrpc: byte literals, dialogues between the two roles, limits, and anything hypothesis can think of."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import ttrpc
from podwright.wire import ttrpc_pb2 as pb
from podwright.wire.ttrpc import Client, DataReceived, Flag, Frame, FrameDecoder, Kind, Requested, Responded, Server

# Written out by hand from containerd/ttrpc's PROTOCOL.md and request.proto: stream 1, a unary call of s/m.
REQUEST = bytes.fromhex("0000000a 00000001 01 00") + b"\x0a\x01s\x12\x01m\x1a\x02hi"
RESPONSE = bytes.fromhex("00000004 00000001 02 00") + b"\x12\x02ho"
FAILURE = bytes.fromhex("00000009 00000001 02 00") + b"\x0a\x07\x08\x05\x12\x03who"


def in_pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def opened(flags: Flag = ttrpc.UNARY) -> tuple[Client, Server, int]:
    client, server = Client(), Server()
    stream, frame = client.request("s", "m", b"hi", flags=flags)
    assert [event.stream for event in server.receive(frame)] == [stream]
    return client, server, stream


def test_a_unary_call_byte_by_byte() -> None:
    client, server = Client(), Server()
    stream, frame = client.request("s", "m", b"hi")
    assert (stream, frame) == (1, REQUEST)
    (asked,) = server.receive(frame)
    assert asked == Requested(1, "s", "m", b"hi", timeout_ns=0, metadata=(), streaming=False, open=False)
    answer = server.respond(1, b"ho")
    assert answer == RESPONSE
    assert list(client.receive(answer)) == [Responded(1, b"ho")]


def test_an_error_is_a_grpc_status() -> None:
    client, server, stream = opened()
    frame = server.fail(stream, 5, "who")
    assert frame == FAILURE
    assert list(client.receive(frame)) == [Responded(stream, code=5, message="who")]


@pytest.mark.parametrize("size", [1, 3, 10, 11, 1000])
def test_frames_come_in_any_pieces(size: int) -> None:
    decoder, found = FrameDecoder(), list[Frame]()
    for piece in in_pieces(REQUEST + RESPONSE + FAILURE, size):
        found += decoder.feed(piece)
    assert [(f.kind, f.data) for f in found] == [
        (Kind.REQUEST, REQUEST[10:]), (Kind.RESPONSE, RESPONSE[10:]), (Kind.RESPONSE, FAILURE[10:])
    ]  # fmt: skip


def test_timeout_and_metadata_travel() -> None:
    _, frame = Client().request("s", "m", b"", timeout_ns=2_000_000_000, metadata={"trace": "1"})
    (asked,) = Server().receive(frame)
    assert isinstance(asked, Requested)
    assert (asked.timeout_ns, asked.metadata) == (2_000_000_000, (("trace", "1"),))


def test_streams_are_odd_and_grow() -> None:
    client = Client()
    assert [client.request("s", "m", b"")[0] for _ in range(3)] == [1, 3, 5]


def test_a_streaming_call_both_ways() -> None:
    client, server, stream = opened(Flag.REMOTE_OPEN)
    assert list(server.receive(client.data(stream, b""))) == [DataReceived(stream, b"", last=False)]
    assert list(server.receive(client.data(stream, None, last=True))) == [DataReceived(stream, None, last=True)]
    assert list(client.receive(server.data(stream, b"x"))) == [DataReceived(stream, b"x", last=False)]
    assert list(client.receive(server.respond(stream, b"end"))) == [Responded(stream, b"end")]


def test_data_on_a_unary_call_breaks_the_rules() -> None:
    client, server, stream = opened()
    with pytest.raises(ttrpc.ProtocolError, match="unary"):
        list(client.receive(server.data(stream, b"x")))


def test_an_answer_nobody_waits_for_is_dropped() -> None:
    client, server, stream = opened()
    client.forget(stream)
    assert list(client.receive(server.respond(stream, b"late"))) == []


@pytest.mark.parametrize("stream", [2, 7])
def test_an_answer_to_what_was_not_asked_breaks_the_rules(stream: int) -> None:
    client, _, _ = opened()
    with pytest.raises(ttrpc.ProtocolError, match=f"stream {stream}"):
        list(client.receive(ttrpc.encode(stream, Kind.RESPONSE, ttrpc.UNARY, b"")))


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_stream_id_must_be_odd_and_new(stream: int) -> None:
    _, server, _ = opened()
    with pytest.raises(ttrpc.ProtocolError, match="odd and grow"):
        list(server.receive(ttrpc.encode(stream, Kind.REQUEST, ttrpc.UNARY, b"")))


def test_the_longest_message_passes_and_a_longer_one_is_not_sent() -> None:
    data = bytes(ttrpc.DATA_LIMIT_BYTES)
    (frame,) = FrameDecoder().feed(ttrpc.encode(1, Kind.DATA, ttrpc.UNARY, data))
    assert len(frame.data) == ttrpc.DATA_LIMIT_BYTES
    client = Client()
    with pytest.raises(ttrpc.MessageTooLong):
        client.request("s", "m", data)
    assert client.request("s", "m", b"")[0] == 1  # the stream was not used up


def test_a_message_that_is_too_long_is_skipped_and_refused() -> None:
    server = Server()
    length = ttrpc.DATA_LIMIT_BYTES + 1
    events = list(server.receive(ttrpc.HEADER.pack(length, 1, Kind.REQUEST, 0)))
    for piece in in_pieces(bytes(length), 1 << 20):
        events += server.receive(piece)
    assert events == []
    (refusal,) = FrameDecoder().feed(bytes(server.refusals))
    assert pb.Response.FromString(refusal.data).status.code == ttrpc.Code.RESOURCE_EXHAUSTED
    _, frame = Client().request("s", "m", b"")
    later = frame[:7] + b"\x03" + frame[8:]
    assert len(list(server.receive(later))) == 1


def test_a_request_that_is_no_message_is_refused() -> None:
    server = Server()
    assert list(server.receive(ttrpc.encode(1, Kind.REQUEST, ttrpc.UNARY, b"\xff"))) == []
    assert bytes(server.refusals)


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n", b"\x00\x00\x00\x00\x00\x00\x00\x01\x09\x00"])
def test_another_protocol_is_found_out(rubbish: bytes) -> None:
    with pytest.raises(ttrpc.ProtocolError, match="not a ttrpc frame"):
        list(FrameDecoder().feed(rubbish))


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_events_or_a_protocol_error(pieces: list[bytes]) -> None:
    for side in (Client(), Server()):
        if isinstance(side, Client):
            side.request("s", "m", b"")
        try:
            for piece in pieces:
                list(side.receive(piece))
        except ttrpc.ProtocolError:
            pass


@given(st.integers(0, 2**32 - 1), st.sampled_from(Kind), st.binary(max_size=300), st.integers(1, 50))
def test_frames_survive_the_wire(stream: int, kind: Kind, data: bytes, size: int) -> None:
    decoder, found = FrameDecoder(), list[Frame]()
    for piece in in_pieces(ttrpc.encode(stream, kind, Flag.REMOTE_CLOSED, data), size):
        found += decoder.feed(piece)
    assert found == [Frame(stream, kind, Flag.REMOTE_CLOSED, data)]
