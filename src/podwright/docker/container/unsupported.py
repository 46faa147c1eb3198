"""What a request can ask for and Docker has no word for: refused, with the field's name, before anything is made."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import HostFacts, RequestFacts, SandboxFacts
from podwright.container.spec.inspect import cdi_devices
from podwright.container.spec.mounts import check_place, mount_destination, plan_mounts
from podwright.criapi import api_pb2 as pb

_NATIVE = "the native backend can"


def check_supported(config: pb.ContainerConfig) -> None:
    """What needs no look at the host. Raises InvalidArgument."""
    for field, words in _unsupported(config):
        raise InvalidArgument(f"{words}; {_NATIVE}", field=field)


def _unsupported(config: pb.ContainerConfig) -> Iterator[tuple[str, str]]:
    for at, mount in enumerate(config.mounts):
        if mount.uidMappings or mount.gidMappings:
            yield f"mounts[{at}].uidMappings", "Docker can't mount with mapped owners"
        if mount.mount_options:
            yield f"mounts[{at}].mount_options", "Docker takes no options of bind mounts"
    if cdi_devices(config):
        yield "CDI_devices", "Docker can't apply CDI edits"
    if config.linux.resources.unified:
        yield "linux.resources.unified", "Docker can't write files of cgroups"


def check_mounts(config: pb.ContainerConfig, sandbox: SandboxFacts, host: HostFacts, request: RequestFacts) -> None:
    """The rules of all backends: propagation, read-only trees, places that hide the kernel's files.

    Raises InvalidArgument, PrefixedError (RROUnsupported).
    """
    plan_mounts(config, sandbox, host, request.sources)
    for at, mount in enumerate(config.mounts):
        destination = mount_destination(mount.container_path, f"mounts[{at}]")
        check_place(destination, request.sources[destination], mount.container_path)
