"""What a shim says that a container uses: a message of one of two kinds, after the cgroups that it reads. Pure."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from podwright.base.errors import Internal
from podwright.runtime.base import Usage
from podwright.shim import shim_pb2 as pb
from podwright.shim.names import is_a

_V1, _V2 = "io.containerd.cgroups.v1.Metrics", "io.containerd.cgroups.v2.Metrics"


def read_usage(stats: Any) -> Usage:
    """Raises Internal for what is neither."""
    try:
        if is_a(stats, _V1):
            v1 = pb.MetricsV1.FromString(stats.value)
            return Usage(cpu_ns=v1.cpu.usage.total, memory_bytes=v1.memory.usage.usage)
        if is_a(stats, _V2):
            v2 = pb.MetricsV2.FromString(stats.value)
            return Usage(cpu_ns=v2.cpu.usage_usec * 1000, memory_bytes=v2.memory.usage)
    except DecodeError as error:
        raise Internal(f"the shim's statistics can't be read: {error}") from error
    raise Internal(f"the shim's statistics are of an unknown kind, {stats.type_url!r}")
