"""User namespaces as the CRI asks for them: one mapping of each kind for the whole pod, which holds id 0.

What a container and a mount ask for is compared with, or made from, the same messages. user_namespaces(7).
"""

from __future__ import annotations

from collections.abc import Iterable

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.linux.idmap import ID_LIMIT, IdMaps, IdRange
from podwright.oci.runtime_spec import IdMapping

_OPTIONS = "config.linux.security_context.namespace_options"


def pod_id_maps(options: pb.NamespaceOption) -> IdMaps | None:
    """The maps of the user namespace that a pod asks for; None for a pod in the host's. Raises InvalidArgument."""
    if not options.HasField("userns_options") or options.userns_options.mode == pb.NODE:
        return None
    asked, field = options.userns_options, f"{_OPTIONS}.userns_options"
    if asked.mode != pb.POD:
        mode = pb.NamespaceMode.Name(asked.mode)
        raise InvalidArgument(f"a user namespace is the pod's or the node's, not {mode}", field=f"{field}.mode")
    for kind, shared in (("pid", options.pid == pb.NODE), ("ipc", options.ipc == pb.NODE)):
        if shared:
            raise InvalidArgument(
                "can't be NODE in a pod with a user namespace of its own, which would have no right to the host's",
                field=f"{_OPTIONS}.{kind}",
            )
    return IdMaps(_only(asked.uids, f"{field}.uids"), _only(asked.gids, f"{field}.gids"))


def _only(given: Iterable[pb.IDMapping], field: str) -> tuple[IdRange, ...]:
    ranges = id_ranges(given, field)
    if len(ranges) != 1:
        raise InvalidArgument(f"must be exactly one mapping, not {len(ranges)}", field=field)
    if ranges[0].inside != 0:
        raise InvalidArgument("must map container id 0", field=f"{field}[0].container_id")
    return ranges


def id_ranges(given: Iterable[pb.IDMapping], field: str) -> tuple[IdRange, ...]:
    """Mappings of the request as the kernel's. Raises InvalidArgument for ids that there can't be."""
    ranges = tuple(IdRange(m.container_id, m.host_id, m.length) for m in given)
    for at, line in enumerate(ranges):
        if not line.length:
            raise InvalidArgument("an id mapping can't have the length 0", field=f"{field}[{at}]")
        if max(line.inside, line.outside) + line.length > ID_LIMIT:
            raise InvalidArgument(f"maps ids that there can't be, above {ID_LIMIT - 1}", field=f"{field}[{at}]")
    return ranges


def mount_id_maps(mount: pb.Mount, field: str) -> IdMaps | None:
    """The maps that a mount's owners are to be shown by; None for a mount without."""
    if not mount.uidMappings and not mount.gidMappings:
        return None
    if not mount.uidMappings or not mount.gidMappings:
        raise InvalidArgument("uidMappings and gidMappings must be given together", field=field)
    return IdMaps(
        id_ranges(mount.uidMappings, f"{field}.uidMappings"), id_ranges(mount.gidMappings, f"{field}.gidMappings")
    )


def check_container(options: pb.NamespaceOption, sandbox: SandboxFacts) -> None:
    """A container has its pod's user namespace: one that names it names the same. Raises InvalidArgument."""
    if options.HasField("userns_options") and pod_id_maps(options) != sandbox.id_maps:
        raise InvalidArgument("must be the pod's own", field=f"{_OPTIONS}.userns_options")
    if options.pid == pb.NODE and sandbox.id_maps is not None:
        raise InvalidArgument("can't be NODE in a pod with a user namespace of its own", field=f"{_OPTIONS}.pid")


def oci_mappings(ranges: Iterable[IdRange]) -> list[IdMapping]:
    """linux.uidMappings and gidMappings, which runtimes want besides the namespace's path."""
    return [IdMapping(container_id=line.inside, host_id=line.outside, size=line.length) for line in ranges]
