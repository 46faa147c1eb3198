"""What exec and attach say beside the process's own streams: how it ended, and the terminal's size.

Versions of `channel.k8s.io`: v1 and v2 end with a text when something went wrong, v3 adds the `resize` stream, v4 makes
the end a `metav1.Status` in JSON, v5 adds half-close to WebSocket. Source: kubernetes,
apimachinery/pkg/util/remotecommand and client-go/tools/remotecommand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from podwright.base.streams import TerminalSize

STDIN, STDOUT, STDERR, ERROR, RESIZE = "stdin", "stdout", "stderr", "error", "resize"
STREAM_TYPE_HEADER = "streamtype"

# Newest first. Without a SPDY v5: it would be v4 again, as SPDY's streams could always be half-closed.
SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")

_SIZE_LIMIT_BYTES = 4096
_MAX_CELLS = 0xFFFF  # struct winsize has 16 bits, ioctl_tty(2)


@dataclass(frozen=True)
class Outcome:
    """How an exec or attach ended: with an exit code, or with an error that has a text."""

    exit_code: int = 0
    error: str = ""


def has_resize(protocol: str) -> bool:
    """Whether a SPDY subprotocol knows the `resize` stream."""
    return protocol in SPDY_PROTOCOLS[:2]


def has_status(protocol: str) -> bool:
    """Whether the error stream carries JSON."""
    return protocol.startswith(("v4.", "v5."))


def encode_outcome(outcome: Outcome, protocol: str) -> bytes:
    """What the error stream carries at the end; before v4 nothing at all for success."""
    message = outcome.error or f"command terminated with exit code {outcome.exit_code}"
    if not has_status(protocol):
        return message.encode() if outcome.error or outcome.exit_code else b""
    status: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if outcome.error:
        status |= {
            "status": "Failure", "message": message, "reason": "InternalError",
            "details": {"causes": [{"message": message}]}, "code": 500,
        }  # fmt: skip
    elif outcome.exit_code:
        # Clients parse the code as 8 bits.
        cause = {"reason": "ExitCode", "message": str(outcome.exit_code & 0xFF)}
        status |= {
            "status": "Failure", "message": message, "reason": "NonZeroExitCode", "details": {"causes": [cause]},
        }  # fmt: skip
    return json.dumps(status).encode()


def decode_outcome(data: bytes) -> Outcome:
    """What a v4 error stream carried. Something else than a status is an error with that text."""
    if not data:
        return Outcome()
    try:
        status = json.loads(data)
        if status["status"] == "Success":
            return Outcome()
        if status.get("reason") == "NonZeroExitCode":
            causes = status["details"]["causes"]
            return Outcome(next(int(c["message"]) for c in causes if c.get("reason") == "ExitCode"))
        return Outcome(error=str(status.get("message") or status.get("reason") or "unknown error"))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return Outcome(error=data.decode(errors="replace").strip())


def encode_size(size: TerminalSize) -> bytes:
    """One object of the `resize` stream."""
    return json.dumps({"Width": size.width, "Height": size.height}).encode() + b"\n"


class SizeDecoder:
    """The `resize` stream: JSON objects, one after the other, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = ""
        self._json = json.JSONDecoder()

    def feed(self, data: bytes) -> TerminalSize | None:
        """The last whole and sensible size in `data`; older ones are history. What isn't JSON is dropped."""
        self._rest = (self._rest + data.decode("latin-1")).lstrip()
        latest = None
        while self._rest:
            try:
                found, end = self._json.raw_decode(self._rest)
            except (ValueError, RecursionError):
                if not self._rest.startswith("{") or len(self._rest) > _SIZE_LIMIT_BYTES:
                    self._rest = ""
                break
            self._rest = self._rest[end:].lstrip()
            latest = _size(found) or latest
        return latest


def _size(found: Any) -> TerminalSize | None:
    if not isinstance(found, dict):
        return None
    width, height = found.get("Width"), found.get("Height")
    if not (isinstance(width, int) and isinstance(height, int)):
        return None
    if not (0 < width <= _MAX_CELLS and 0 < height <= _MAX_CELLS):
        return None
    return TerminalSize(width, height)
