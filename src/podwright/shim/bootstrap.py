"""How a shim's program is called, and what it answers. Pure.

    SHIM -namespace NS -address OURS -publish-binary PROGRAM -id ID start       in the bundle; prints where it serves
    SHIM … -bundle BUNDLE delete                                                prints a DeleteResponse

What `start` gets on its standard input has changed: BootstrapParams from containerd 2.3 on, before that the options in
an Any, or nothing. Neither kind takes the other; the newer says so in words, so the older is tried first. Sources:
containerd, pkg/shim/{shim,util,compat}.go, core/runtime/v2/{binary,shim}.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from podwright.base.errors import Unimplemented
from podwright.runtime.base import RuntimeFailed
from podwright.shim import shim_pb2 as pb
from podwright.shim.names import NAMESPACE

VERSIONS = (2, 3)
# The only events that a shim sends by a program are those of shims that no longer exist.
_PUBLISHER = "podwright"
_UNIX = "unix://"


@dataclass(frozen=True)
class Endpoint:
    """Where a shim serves: the path of a unix socket, and the version of its task service."""

    path: str
    version: int


class _Json(msgspec.Struct):
    version: int = 0
    address: str = ""
    protocol: str = ""


def arguments(container_id: str, events: str, verb: str, *, bundle: str = "") -> Sequence[str]:
    """After the program's name. `events`: the path of the socket where we take events."""
    where = ("-bundle", bundle) if bundle else ()
    return (
        "-namespace", NAMESPACE, "-address", events, "-publish-binary", _PUBLISHER, "-id", container_id, *where, verb,
    )  # fmt: skip


def environment(events: str) -> dict[str, str]:
    return {
        "GOMAXPROCS": "2", "CONTAINERD_SHIM_MAX_VERSION": str(VERSIONS[-1]), "TTRPC_ADDRESS": events,
        "GRPC_ADDRESS": events, "NAMESPACE": NAMESPACE,
    }  # fmt: skip


def wants_parameters(words: str) -> bool:
    """Whether a failed `start` means that the shim is of the newer kind."""
    return "deprecated API" in words


def parameters(container_id: str, events: str, options: bytes) -> bytes:
    """The standard input of `start` from containerd 2.3 on; before it is `options` alone: an Any, or empty."""
    message = pb.BootstrapParams(
        instance_id=container_id, namespace=NAMESPACE, containerd_ttrpc_address=events, containerd_grpc_address=events,
        containerd_binary=_PUBLISHER,
    )  # fmt: skip
    if options:
        message.extensions.add(value=Any.FromString(options))
    return message.SerializeToString()


def parse_endpoint(answer: bytes, container_id: str) -> Endpoint:
    """What `start` printed. Raises RuntimeFailed when it is no endpoint, Unimplemented for one we can't talk to."""
    found = _parse(answer)
    if found.protocol != "ttrpc" or found.version not in VERSIONS:
        raise Unimplemented(
            f"this shim speaks {found.protocol or 'an unknown protocol'} version {found.version}; "
            "ttrpc, versions 2 and 3, are supported"
        )
    path = found.address.removeprefix(_UNIX)
    if not path.startswith("/") or "\0" in path:
        raise RuntimeFailed("start", container_id, f"it gave no address but {answer[:200]!r}", program="shim")
    return Endpoint(path, found.version)


def _parse(answer: bytes) -> _Json:
    """In the order of their age, newest first. The first byte of the newest is a field's tag, no printable one."""
    try:
        if answer[:1] < b" ":
            result = pb.BootstrapResult.FromString(answer)
            return _Json(result.version, result.address, result.protocol)
        found = msgspec.json.decode(answer, type=_Json)
        if found.version >= VERSIONS[0]:
            return found
    except (DecodeError, msgspec.MsgspecError, UnicodeDecodeError):
        pass
    return _Json(VERSIONS[0], answer.decode(errors="replace").strip(), "ttrpc")
