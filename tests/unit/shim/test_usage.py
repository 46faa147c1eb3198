"""What shims say of usage, in bytes as the messages of containerd/cgroups have them."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from podwright.base.errors import Internal
from podwright.runtime.base import Usage
from podwright.shim.usage import read_usage

V1 = "io.containerd.cgroups.v1.Metrics"
V2 = "io.containerd.cgroups.v2.Metrics"


@pytest.mark.parametrize(
    ("kind", "value", "usage"),
    [
        # cpu (3) { usage (1) { total (1): 300 } }, memory (4) { usage (33) { limit (1): 9, usage (2): 4096 } }
        (V1, b"\x1a\x05\x0a\x03\x08\xac\x02\x22\x08\x8a\x02\x05\x08\x09\x10\x80\x20", Usage(300, 4096)),
        # cpu (2) { usage_usec (1): 300 }, memory (4) { anon (1): 1, usage (32): 4096 }
        (V2, b"\x12\x03\x08\xac\x02\x22\x06\x08\x01\x80\x02\x80\x20", Usage(300_000, 4096)),
        ("types/" + V2, b"", Usage(0, 0)),
    ],
)
def test_both_kinds(kind: str, value: bytes, usage: Usage) -> None:
    assert read_usage(Any(type_url=kind, value=value)) == usage


@pytest.mark.parametrize(("kind", "value"), [("windows.Statistics", b""), (V1, b"\xff")])
def test_what_can_not_be_read(kind: str, value: bytes) -> None:
    with pytest.raises(Internal, match="shim's statistics"):
        read_usage(Any(type_url=kind, value=value))
