"""Stop signals by every spelling."""

from __future__ import annotations

import signal

import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.spec.signals import signal_number, signal_of_cri, stop_signal
from podwright.criapi import api_pb2 as pb


@pytest.mark.parametrize(
    ("text", "number"),
    [("15", 15), ("TERM", 15), ("SIGTERM", 15), ("sigquit", 3), ("SIGRTMIN", signal.SIGRTMIN),
     ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("RTMINPLUS3", signal.SIGRTMIN + 3), ("SIGRTMAX", signal.SIGRTMAX),
     ("SIGRTMAX-14", signal.SIGRTMAX - 14), ("SIGRTMAXMINUS1", signal.SIGRTMAX - 1), ("CLD", signal.SIGCHLD),
     ("SIGPOLL", signal.SIGIO), ("64", 64)],
)  # fmt: skip
def test_spellings(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "SIG", "NOPE", "SIGRTMIN+99", "SIGRTMIN-1", "RTMAX+1", "\u0661"])
def test_no_signal(text: str) -> None:
    with pytest.raises(InvalidArgument):
        signal_number(text)


def test_request_then_image_then_term() -> None:
    assert stop_signal(pb.SIGNAL_SIGINT, "SIGQUIT") == 2
    assert stop_signal(pb.SIGNAL_RUNTIME_DEFAULT, "SIGQUIT") == 3
    assert stop_signal(pb.SIGNAL_RUNTIME_DEFAULT, "") == 15


def test_every_signal_of_the_cri_is_one_of_the_kernels() -> None:
    numbers = {stop_signal(value, "") for value in pb.Signal.values()}
    assert len(numbers) >= 60


def test_the_cris_word_for_a_number() -> None:
    for value in pb.Signal.values():
        number = stop_signal(value, "")
        assert stop_signal(signal_of_cri(number), "") == number
    assert signal_of_cri(signal.SIGCHLD) == pb.SIGNAL_SIGCHLD
    assert signal_of_cri(signal.SIGIO) == pb.SIGNAL_SIGIO
    assert signal_of_cri(signal.SIGABRT) == pb.SIGNAL_SIGABRT
    assert signal_of_cri(32) == pb.SIGNAL_RUNTIME_DEFAULT
