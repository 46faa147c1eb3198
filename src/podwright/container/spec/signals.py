"""The signal that asks a container to stop: the request's, else the image's, else SIGTERM. signal(7)."""

from __future__ import annotations

import functools
import re
import signal

from podwright.base.errors import InvalidArgument
from podwright.criapi import api_pb2 as pb

_REALTIME = re.compile(r"RT(MIN|MAX)(?:(PLUS|\+|MINUS|-)([0-9]{1,2}))?\Z")
_ALIASES = {"CLD": "CHLD", "POLL": "IO", "UNUSED": "SYS", "IOT": "ABRT"}


def stop_signal(asked: pb.Signal.ValueType, image: str) -> int:
    """Signal number. `image` may be a name with or without SIG, or a number. Raises InvalidArgument."""
    if asked != pb.SIGNAL_RUNTIME_DEFAULT:
        return signal_number(pb.Signal.Name(asked).removeprefix("SIGNAL_"))
    return signal_number(image) if image else signal.SIGTERM.value


def signal_number(text: str) -> int:
    """15, TERM, SIGTERM, SIGRTMIN+3, SIGRTMINPLUS3 … as a number."""
    word = text.strip().upper().removeprefix("SIG")
    if word.isascii() and word.isdigit() and 1 <= int(word) <= signal.SIGRTMAX:
        return int(word)
    if (real := _REALTIME.match(word)) is not None:
        base = signal.SIGRTMIN if real[1] == "MIN" else signal.SIGRTMAX
        offset = int(real[3] or 0) * (1 if real[2] in ("PLUS", "+") else -1)
        if signal.SIGRTMIN <= base + offset <= signal.SIGRTMAX:
            return base + offset
    name = "SIG" + _ALIASES.get(word, word)
    if name in signal.Signals.__members__:
        return signal.Signals[name].value
    raise InvalidArgument(f"{text!r} is not a signal", field="stop_signal")


@functools.cache
def signal_of_cri(number: int) -> pb.Signal.ValueType:
    """The CRI's word for a signal, under the name that the kernel's headers prefer; libc's own two have none."""
    found = pb.SIGNAL_RUNTIME_DEFAULT
    for value in pb.Signal.values():
        name = pb.Signal.Name(value).removeprefix("SIGNAL_")
        if value == pb.SIGNAL_RUNTIME_DEFAULT or signal_number(name) != number:
            continue
        if found == pb.SIGNAL_RUNTIME_DEFAULT or name == signal.Signals(number).name:
            found = value
    return found
