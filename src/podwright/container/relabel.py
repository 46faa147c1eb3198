"""`selinux_relabel` of mounts: their sources get the container's mount label, where it has one."""

from __future__ import annotations

from podwright.base.errors import InvalidArgument
from podwright.base.tasks import in_thread
from podwright.container.spec.facts import RequestFacts
from podwright.container.spec.mounts import mount_destination
from podwright.criapi import api_pb2 as pb
from podwright.security.relabel import relabel


async def relabel_sources(config: pb.ContainerConfig, request: RequestFacts, label: str) -> None:
    """Label what the request wants labelled. Images keep their labels: all containers share their files.

    `label` is '' without SELinux and for privileged containers; then there is nothing to do. Raises InvalidArgument.
    """
    for at, mount in enumerate(config.mounts):
        if not label or not mount.selinux_relabel or mount.image.image:
            continue
        field = f"mounts[{at}]"
        path = request.sources[mount_destination(mount.container_path, field)].path
        try:
            await in_thread(relabel, path, label)
        except InvalidArgument as error:
            raise InvalidArgument(str(error), field=field) from error
        except OSError as error:
            raise InvalidArgument(f"{path} can't be labelled for SELinux: {error.strerror}", field=field) from error
