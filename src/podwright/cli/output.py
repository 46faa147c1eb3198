"""The way to the terminal: tables for people, JSON for programs, and words for times, sizes and states.

Colours only where a person looks: on a terminal that can, unless NO_COLOR is set (no-color.org). Text from outside
loses its control characters, so that nobody's label can drive somebody's terminal. Plain tables are made here and not
by rich, which would cost every command 50 ms; rich draws what moves.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_SPANS = ((86400 * 365, "year"), (86400 * 30, "month"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_GREEN, _YELLOW, _RED, _CYAN, _DIM, _BOLD = "32", "33", "31", "36", "2", "1"  # ECMA-48, select graphic rendition
_COLOURS = {
    "running": _GREEN, "ready": _GREEN, "ok": _GREEN, "created": _CYAN, "exited": _DIM, "notready": _DIM,
    "warn": _YELLOW, "unknown": _RED, "fail": _RED,
}  # fmt: skip
_GAP = "   "


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = (), states: Sequence[str] = ()
) -> None:
    """Print rows under a header, as wide as they need, so that an id is never cut.

    Columns named in `right` are aligned to the right, those in `states` get the colour of what they say.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    lines = [style(_line(columns, columns, widths, right, ()), _BOLD)]
    lines += [_line(columns, row, widths, right, states) for row in cells]
    sys.stdout.write("\n".join(lines) + "\n")


def _line(
    columns: Sequence[str], row: Sequence[str], widths: Sequence[int], right: Sequence[str], states: Sequence[str]
) -> str:
    parts = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        padded = cell.rjust(width) if column in right else cell.ljust(width)
        parts.append(style(padded, _COLOURS.get(cell.lower(), "")) if column in states else padded)
    return _GAP.join(parts).rstrip()


def style(text: str, code: str) -> str:
    """Text in a colour, where colours are wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and colours() else text


def colours() -> bool:
    """Whether stdout is a terminal that shows colours, and the user doesn't mind."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "dumb")


def print_json(value: object) -> None:
    """Print a JSON value on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_line(text: str) -> None:
    """Print one line on stdout."""
    sys.stdout.write(clean(text) + "\n")


def note(text: str) -> None:
    """Print one line on stderr: for the person, not part of the result."""
    sys.stderr.write(clean(text) + "\n")


def as_dict(message: Message) -> dict[str, Any]:
    """A message in protobuf's JSON mapping: camelCase, 64-bit numbers as strings, defaults included. As crictl."""
    from google.protobuf.json_format import MessageToDict  # 20 ms that only -o json needs

    made: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    return made


def clean(text: str) -> str:
    """Text without control characters (C0, DEL, C1)."""
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text)


def short_id(identifier: str) -> str:
    """The first 12 hex digits of an id; of an image's id without `sha256:`."""
    return identifier.removeprefix("sha256:")[:12]


def size(count: int) -> str:
    """Bytes in decimal units with three significant digits, as registries count."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            return f"{count} B" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1000
    raise AssertionError


def age(time_ns: int) -> str:
    """How long ago; empty for a time that is not set."""
    return f"{span(time.time() - time_ns / 1e9)} ago" if time_ns > 0 else ""


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for length, name in _SPANS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "less than a second"
