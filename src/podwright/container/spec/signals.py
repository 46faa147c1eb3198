"""Signals by the names that the CRI and images use."""

from __future__ import annotations

import re
import signal

from podwright.base.errors import InvalidArgument
from podwright.criapi import api_pb2 as pb

_REALTIME = re.compile(r"RTM(IN|AX)(?:(?:\+|PLUS|-|MINUS)([0-9]+))?\Z")
_OLD_NAMES = {"CLD": signal.SIGCHLD, "IOT": signal.SIGABRT, "POLL": signal.SIGIO}


def stop_signal_number(asked: pb.Signal.ValueType, image_signal: str) -> int:
    """The signal that stops a container: the request's, else the image's STOPSIGNAL, else SIGTERM. signal(7)."""
    if asked != pb.SIGNAL_RUNTIME_DEFAULT:
        return signal_number(pb.Signal.Name(asked).removeprefix("SIGNAL_"))
    return signal_number(image_signal) if image_signal else signal.SIGTERM


def signal_number(name: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `SIGRTMAXMINUS2`. Raises InvalidArgument."""
    word = name.strip().upper().removeprefix("SIG")
    if word.isdigit() and 1 <= int(word) <= signal.SIGRTMAX:
        return int(word)
    if match := _REALTIME.match(word):
        offset = int(match[2] or 0)
        number = signal.SIGRTMIN + offset if match[1] == "IN" else signal.SIGRTMAX - offset
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    elif word in _OLD_NAMES:
        return _OLD_NAMES[word]
    elif f"SIG{word}" in signal.Signals.__members__:
        return signal.Signals[f"SIG{word}"]
    raise InvalidArgument(f"{name!r} is not the name of a signal", field="stop_signal")
