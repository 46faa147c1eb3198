"""The stream between a machine's agent and the host: byte literals, credit, anything hypothesis can think of."""

from __future__ import annotations

import ast
import inspect
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import guest_frames as wire
from podwright.wire.guest_frames import CREDIT_BYTES, Decoder, Frame, ProtocolError, Streams, encode


def test_a_frame_as_bytes() -> None:
    assert encode(wire.REQUEST, 7, b"{}") == bytes.fromhex("01 00000007 00000002") + b"{}"
    assert encode(wire.END, 9) == bytes.fromhex("06 00000009 00000000")


def test_frames_come_out_of_any_pieces() -> None:
    frames = [Frame(wire.DATA, 3, b"abc"), Frame(wire.END, 3, b""), Frame(wire.NOTICE, 0, b'{"notice":"exit"}')]
    encoded = b"".join(encode(*frame) for frame in frames)
    decoder = Decoder()
    assert [frame for byte in encoded for frame in decoder.feed(bytes([byte]))] == frames
    assert list(Decoder().feed(encoded)) == frames


@pytest.mark.parametrize(
    "header",
    ["00 00000001 00000000", "09 00000001 00000000", "05 00000001 00008001", "06 00000001 00000001"],
    ids=["kind 0", "kind 9", "data that is too long", "an end with a body"],
)
def test_what_is_no_frame_is_refused_by_its_header_alone(header: str) -> None:
    with pytest.raises(ProtocolError, match=header.replace(" ", "")):
        list(Decoder().feed(bytes.fromhex(header)))


def test_a_body_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="1048577 bytes"):
        encode(wire.RESPONSE, 1, bytes(wire.JSON_LIMIT_BYTES + 1))


def pair() -> tuple[Streams, Streams]:
    """A sender and a receiver of stream 1."""
    sender, receiver = Streams(), Streams()
    sender.open_sending(1)
    receiver.open_receiving(1)
    return sender, receiver


def deliver(encoded: bytes, to: Streams) -> list[Frame]:
    return [frame for frame in Decoder().feed(encoded) if to.receive(frame)]


def test_data_costs_credit_which_comes_back_when_it_has_been_taken() -> None:
    sender, receiver = pair()
    received = deliver(sender.send(1, bytes(CREDIT_BYTES)), receiver)
    assert [len(frame.body) for frame in received] == [wire.DATA_LIMIT_BYTES] * 4
    assert sender.credit(1) == 0
    with pytest.raises(ValueError, match="credit for 0"):
        sender.send(1, b"x")
    assert receiver.took(1, 100) == b""
    deliver(receiver.took(1, wire.DATA_LIMIT_BYTES), sender)
    assert sender.credit(1) == wire.DATA_LIMIT_BYTES + 100


def test_a_stream_without_credit_stops_no_other() -> None:
    sender, receiver = pair()
    sender.open_sending(2)
    receiver.open_receiving(2)
    deliver(sender.send(1, bytes(CREDIT_BYTES)), receiver)
    assert deliver(sender.send(2, b"on"), receiver) == [Frame(wire.DATA, 2, b"on")]


def test_an_end_closes_and_frees_the_number() -> None:
    sender, receiver = pair()
    assert deliver(sender.end(1), receiver) == [Frame(wire.END, 1, b"")]
    assert not sender.is_sending(1)
    assert not receiver.is_receiving(1)
    assert sender.end(1) == b""
    assert sender.send(1, b"late") == b""
    sender.open_sending(1)
    assert sender.credit(1) == CREDIT_BYTES


def test_data_that_crosses_a_reset_is_dropped() -> None:
    sender, receiver = pair()
    crossing = sender.send(1, b"under way")
    reset = receiver.reset(1)
    assert deliver(crossing, receiver) == []
    assert deliver(reset, sender) == [Frame(wire.RESET, 1, b"")]
    assert sender.send(1, b"more") == b""
    assert receiver.took(1, 9) == b""
    assert receiver.reset(1) == b""


def test_an_open_number_can_not_be_opened_again() -> None:
    sender, _ = pair()
    with pytest.raises(ValueError, match="stream 1 is open"):
        sender.open_receiving(1)


def test_more_data_than_credit_is_refused() -> None:
    _, receiver = pair()
    for _ in range(4):
        receiver.receive(Frame(wire.DATA, 1, bytes(wire.DATA_LIMIT_BYTES)))
    with pytest.raises(ProtocolError, match="1 bytes on stream 1, which has credit for 0"):
        receiver.receive(Frame(wire.DATA, 1, b"x"))


def test_more_credit_than_was_spent_is_refused() -> None:
    sender, _ = pair()
    with pytest.raises(ProtocolError, match="more than was sent"):
        deliver(encode(wire.CREDIT, 1, (1).to_bytes(4, "big")), sender)
    with pytest.raises(ProtocolError, match="3 bytes"):
        deliver(encode(wire.CREDIT, 1, b"abc"), sender)


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_one_error(data: bytes) -> None:
    streams = Streams()
    streams.open_sending(1)
    streams.open_receiving(2)
    try:
        for frame in Decoder().feed(data):
            assert encode(*frame) in data
            if frame.kind >= wire.DATA:
                streams.receive(frame)
    except ProtocolError:
        pass
    assert 0 <= streams.credit(1) <= CREDIT_BYTES


@given(st.lists(st.integers(0, CREDIT_BYTES), max_size=6), st.integers(1000, CREDIT_BYTES))
def test_all_bytes_arrive_in_order_and_the_receiver_never_holds_more_than_the_credit(
    writes: list[int], reads: int
) -> None:
    """A writer that sends as much as it may, and a reader that takes `reads` bytes at a time."""
    sender, receiver = pair()
    sent = b"".join(bytes([number % 251]) * size for number, size in enumerate(writes))
    left, held, taken = sent, bytearray(), bytearray()
    while left or held:
        piece, left = left[: sender.credit(1)], left[sender.credit(1) :]
        for frame in deliver(sender.send(1, piece), receiver):
            held += frame.body
        assert len(held) <= CREDIT_BYTES
        assert held, "a writer without credit, and a reader with nothing to read"
        taken += held[:reads]
        deliver(receiver.took(1, len(held[:reads])), sender)
        del held[:reads]
    assert taken == sent


def test_the_file_needs_the_standard_library_alone() -> None:
    """It is copied into the machine's first file system."""
    for node in ast.walk(ast.parse(inspect.getsource(wire))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in sys.stdlib_module_names for name in names)
