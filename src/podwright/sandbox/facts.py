"""What a container's specification needs to know of its pod."""

from __future__ import annotations

from pathlib import Path

from podwright.container.spec.facts import SandboxFacts
from podwright.sandbox.collaborators import Collaborators
from podwright.sandbox.model import Sandbox

_OCI_NAMES = {"user": "user", "net": "network", "ipc": "ipc", "uts": "uts"}
HOST_SHM = Path("/dev/shm")


def sandbox_facts(on: Collaborators, sandbox: Sandbox) -> SandboxFacts:
    """The pod's namespaces, files and cgroup, as its containers get them."""
    config, record, layout = sandbox.config, sandbox.record, on.layout
    namespaces = {_OCI_NAMES[kind]: str(layout.namespace(sandbox.id, kind)) for kind in record.pinned}
    if record.pause_pid:
        own_kernel = on.handlers.runtime(record.handler).own_kernel
        namespaces["pid"] = "" if own_kernel else f"/proc/{record.pause_pid}/ns/pid"
    return SandboxFacts(
        id=sandbox.id, name=config.metadata.name, namespace=config.metadata.namespace, uid=config.metadata.uid,
        handler=record.handler, cgroup_parent=record.cgroup_parent,
        hostname=record.hostname, namespaces=namespaces,
        hosts=layout.pod_file(sandbox.id, "hosts"), resolv_conf=layout.pod_file(sandbox.id, "resolv.conf"),
        hostname_file=layout.pod_file(sandbox.id, "hostname"),
        shm=HOST_SHM if sandbox.host_ipc else layout.shm(sandbox.id),
        log_directory=config.log_directory, annotations=dict(config.annotations),
        privileged=config.linux.security_context.privileged, id_maps=sandbox.id_maps,
        selinux_level=record.selinux_level, overhead=sandbox.overhead, resources=sandbox.resources,
    )  # fmt: skip
