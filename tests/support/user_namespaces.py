"""User namespaces as requests name them, and directories that their root can pass through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podwright.criapi import api_pb2 as pb
from tests.support import names

FIRST, LENGTH = 200_000, 65_536


def pass_through(directory: Path) -> None:
    """pytest's directories are closed to others; a user namespace's root has to pass, as through /run."""
    for path in (directory, *directory.parents):
        if not path.is_relative_to(names.TEMPORARY):
            return
        path.chmod(0o711)


def mapping(first: int = FIRST, length: int = LENGTH, inside: int = 0) -> list[pb.IDMapping]:
    return [pb.IDMapping(container_id=inside, host_id=first, length=length)]


def userns_options(**changes: Any) -> pb.NamespaceOption:
    """A pod's or container's namespaces, with a user namespace of the pod's own; `changes` of UserNamespace."""
    userns = pb.UserNamespace(mode=pb.POD, uids=mapping(), gids=mapping())
    for name, value in changes.items():
        userns.ClearField(name)  # type: ignore[arg-type]
        userns.MergeFrom(pb.UserNamespace(**{name: value}))
    return pb.NamespaceOption(network=pb.POD, pid=pb.CONTAINER, ipc=pb.POD, userns_options=userns)
