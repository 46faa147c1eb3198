"""Names that travel: of services, of topics, and of the types in an Any. Source: containerd, api/."""

from __future__ import annotations

import msgspec
from google.protobuf.any_pb2 import Any

from podwright.shim import shim_pb2 as pb

# CRI runtimes use this one; tools for people (ctr, nerdctl) look for Kubernetes' containers in it.
NAMESPACE = "k8s.io"

EVENTS_SERVICE = "containerd.services.events.ttrpc.v1.Events"
TASK_OOM = "containerd.events.TaskOOM"

RUNC_OPTIONS = "containerd.runc.v1.Options"

_SPEC = "types.containerd.io/opencontainers/runtime-spec/1"
_OPTIONS = {pb.RuncOptions: RUNC_OPTIONS, pb.GenericOptions: "runtimeoptions.v1.Options"}

Options = pb.RuncOptions | pb.GenericOptions


def pack_checkpoint_options(options: pb.RuncCheckpointOptions) -> Any:
    return Any(type_url="containerd.runc.v1.CheckpointOptions", value=options.SerializeToString())


def task_service(version: int) -> str:
    """Versions 2 and 3 differ in nothing else."""
    return f"containerd.task.v{version}.Task"


def pack_options(options: Options) -> bytes:
    """A shim's options as it expects them: an Any."""
    return Any(type_url=_OPTIONS[type(options)], value=options.SerializeToString()).SerializeToString()


def pack_spec(kind: str, part: msgspec.Struct) -> Any:
    """A part of the OCI runtime specification (`kind` is its name there, e.g. Process): as JSON."""
    return Any(type_url=f"{_SPEC}/{kind}", value=msgspec.json.encode(part))


def is_a(packed: Any, name: str) -> bool:
    """Whether an Any holds a message of this name; what is before the last slash is free."""
    return packed.type_url.rpartition("/")[2] == name
