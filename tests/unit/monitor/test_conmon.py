"""What conmon writes to its pipe."""

from __future__ import annotations

import pytest

from podwright.monitor.conmon import parse_sync


@pytest.mark.parametrize(
    ("line", "pid", "message"),
    [
        (b'{"pid": 42}\n', 42, ""),
        (b'{"pid": -1, "message": "it \\"failed\\""}\n', -1, 'it "failed"'),
        (b"", -1, ""),
        (b"garbage", -1, "garbage"),
        (b'{"pid": "x"}', -1, '{"pid": "x"}'),
        (b"\xff\xfe", -1, "\ufffd\ufffd"),
    ],
)
def test_parse_sync(line: bytes, pid: int, message: str) -> None:
    found = parse_sync(line)
    assert (found.pid, found.message) == (pid, message)
