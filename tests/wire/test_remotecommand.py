"""How a remote command ends, and how large its terminal is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.streams import TerminalSize
from podwright.wire.remotecommand import (
    SPDY_PROTOCOLS,
    Outcome,
    SizeDecoder,
    decode_outcome,
    encode_outcome,
    encode_size,
    has_resize,
)

V4 = "v4.channel.k8s.io"


def test_a_status_as_clients_parse_it() -> None:
    assert json.loads(encode_outcome(Outcome(), V4)) == {"metadata": {}, "status": "Success"}
    failed = json.loads(encode_outcome(Outcome(3), V4))
    assert failed["status"] == "Failure"
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    broken = json.loads(encode_outcome(Outcome(error="no such file"), "v5.channel.k8s.io"))
    assert (broken["status"], broken["reason"], broken["message"]) == ("Failure", "InternalError", "no such file")


@pytest.mark.parametrize("protocol", SPDY_PROTOCOLS[1:])
def test_before_v4_it_is_a_text_or_nothing(protocol: str) -> None:
    assert encode_outcome(Outcome(), protocol) == b""
    assert encode_outcome(Outcome(3), protocol) == b"command terminated with exit code 3"
    assert encode_outcome(Outcome(error="no such file"), protocol) == b"no such file"


def test_resize_came_with_v3() -> None:
    assert [has_resize(protocol) for protocol in SPDY_PROTOCOLS] == [True, True, False, False]


@given(st.integers(0, 255), st.text())
def test_outcomes_survive(code: int, text: str) -> None:
    assert decode_outcome(encode_outcome(Outcome(code), V4)) == Outcome(code)
    outcome = Outcome(error=text) if text else Outcome()
    assert decode_outcome(encode_outcome(outcome, V4)) == outcome


@pytest.mark.parametrize(
    "data", [b"plain text", b"{}", b"[1]", b'{"status": "Failure", "reason": "NonZeroExitCode"}', b'"x"', b"\xff"]
)
def test_what_is_no_status_is_an_error(data: bytes) -> None:
    assert decode_outcome(data).error


def test_an_unnamed_failure_is_an_error() -> None:
    assert decode_outcome(b'{"status": "Failure"}') == Outcome(error="unknown error")
    assert decode_outcome(b"") == Outcome()


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), min_size=1), st.integers(1, 30))
def test_sizes_in_pieces(sizes: list[tuple[int, int]], cut: int) -> None:
    data = b"".join(encode_size(TerminalSize(*size)) for size in sizes)
    decoder, latest = SizeDecoder(), None
    for at in range(0, len(data), cut):
        latest = decoder.feed(data[at : at + cut]) or latest
    assert latest == TerminalSize(*sizes[-1])


def test_sizes_that_make_no_sense_are_left_out() -> None:
    decoder = SizeDecoder()
    good = TerminalSize(80, 24)
    for wrong in (b'{"Width":0,"Height":5}', b'{"Width":"a","Height":5}', b"{}", b'{"Width":70000,"Height":5}', b"[]"):
        assert decoder.feed(wrong) is None
        assert decoder.feed(encode_size(good)) == good


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_anything_on_the_resize_stream_is_survived(pieces: list[bytes]) -> None:
    decoder = SizeDecoder()
    for piece in pieces:
        decoder.feed(piece)
    decoder.feed(b"{" * 10_000)
    decoder.feed(b"[" * 100_000)
    assert decoder.feed(encode_size(TerminalSize(1, 2))) == TerminalSize(1, 2)
