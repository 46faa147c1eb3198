"""RunPodSandbox: a sandbox container, its network namespace pinned and joined to our network. Undo before do."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from podwright.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from podwright.base.files import remove_tree
from podwright.base.ids import new_id
from podwright.base.inflight import Stage
from podwright.base.log import get_logger, log_context
from podwright.base.undo import Undo
from podwright.container.spec.security import selinux_options
from podwright.container.spec.userns import pod_id_maps
from podwright.criapi import api_pb2 as pb
from podwright.docker.answers import Inspected
from podwright.docker.collaborators import Collaborators
from podwright.docker.engine_containers import create, inspect, remove, start
from podwright.docker.errors import EngineFailed
from podwright.docker.naming import pod_name
from podwright.docker.pod.config import sandbox_body
from podwright.docker.pod.hold import Holds
from podwright.docker.pod.pause_image import require_pause_image
from podwright.linux.pidfd import identify
from podwright.network import namespaces
from podwright.sandbox.files import write_pod_files
from podwright.sandbox.model import Sandbox, SandboxRecord, sandbox_key
from podwright.sandbox.network import join_network, leave_network
from podwright.sandbox.policy import choose_handler
from podwright.sandbox.ports import check_host_ports
from podwright.sandbox.run import forget_or_show, make_cgroups, selinux_level
from podwright.sandbox.stop import remove_cgroups, unpin
from podwright.sandbox.sysctls import check_sysctls
from podwright.security import selinux
from podwright.state.boot import boot_id

log = get_logger(__name__)


async def run_sandbox(
    on: Collaborators, holds: Holds, config: pb.PodSandboxConfig, handler: str, stage: Stage
) -> Sandbox:
    """Make a pod READY, or leave nothing. Where undoing fails the record stays, NOTREADY, for Stop and Remove.

    Raises InvalidArgument, AlreadyExists, FailedPrecondition, what the network raises, and the engine's refusals.
    """
    handler = choose_handler(on.pod_settings.handler_rules, on.handlers, config, handler).handler
    sysctls = check_pod(on, config, handler)
    check_host_ports(config, on.sandboxes)
    sandbox = reserve(on, config, handler)
    with log_context(pod_id=sandbox.id[:13]):
        async with Undo("run sandbox", timeout_s=on.pod_settings.undo_timeout_s) as undo:
            undo.add("forget the record", partial(forget_or_show, on, sandbox, undo))
            async with on.locks.hold(sandbox.id):
                await _bring_up(on, sandbox, sysctls, undo, stage)
            on.sandboxes.hidden.discard(sandbox.id)
            undo.keep()
        holds.watch(sandbox)
        log.info("pod is ready", ips=sandbox.ips or None)
    return sandbox


async def _bring_up(on: Collaborators, sandbox: Sandbox, sysctls: Mapping[str, str], undo: Undo, stage: Stage) -> None:
    stage("pod directory")
    directory = on.layout.sandbox(sandbox.id)
    undo.add("remove the pod directory", partial(remove_tree, directory))
    directory.mkdir(mode=0o711)
    if sandbox.config.log_directory:
        Path(sandbox.config.log_directory).mkdir(mode=0o755, parents=True, exist_ok=True)
    stage("cgroup")
    undo.add("remove cgroups", partial(remove_cgroups, on, sandbox))
    make_cgroups(on, sandbox)
    stage("sandbox container")
    undo.add("remove the sandbox container", partial(remove, on.engine, pod_name(sandbox)))
    await _start_container(on, sandbox, sysctls)
    if sandbox.record.network_wanted:
        stage("network")
        undo.add("unpin namespaces", partial(unpin, on, sandbox))
        paths = {"net": on.layout.namespace(sandbox.id, "net")}
        await namespaces.pin(paths, holder=sandbox.record.pause_pid)
        undo.add("leave the network", partial(leave_network, on, sandbox))
        await join_network(on, sandbox)
    stage("pod files")
    write_pod_files(on.layout, sandbox)
    on.sandboxes.update(sandbox.id, ready_at=time.time_ns())
    stage("ready")


async def _start_container(on: Collaborators, sandbox: Sandbox, sysctls: Mapping[str, str]) -> None:
    """Its process is known before anything is done to its namespaces."""
    body = partial(
        sandbox_body, sandbox, runtime=on.handlers.require(sandbox.record.handler), instance=on.instance,
        sysctls=_defaults(on, sandbox, sysctls), oom_score_adj_min=on.host().oom_score_adj_min,
        shm_size_bytes=on.pod_settings.shm_size_bytes,
    )  # fmt: skip
    image, name = await require_pause_image(on.engine), pod_name(sandbox)
    try:
        await create(on.engine, name, body(image=image))
    except NotFound:  # somebody removed the image at this very moment
        await create(on.engine, name, body(image=await require_pause_image(on.engine)))
    await _start(on, name)
    found = await inspect(on.engine, name)
    process = identify(found.state.pid) if found is not None and found.state.pid else None
    if process is None:
        raise FailedPrecondition(f"the sandbox container ended at once: {_why(found)}")
    on.sandboxes.update(sandbox.id, pause_pid=process.pid, pause_start_time=process.start_time)


async def _start(on: Collaborators, name: str) -> None:
    try:
        await start(on.engine, name)
    except EngineFailed as error:
        if "/proc/sys/" in str(error):  # a value that only the kernel can judge
            raise InvalidArgument(str(error), field="config.linux.sysctls") from error
        raise


def _why(found: Inspected | None) -> str:
    return "it is gone" if found is None else found.state.error or f"exit code {found.state.exit_code}"


def _defaults(on: Collaborators, sandbox: Sandbox, sysctls: Mapping[str, str]) -> dict[str, str]:
    """What containers without privileges may do in a network of the pod's own; the request's sysctls win."""
    defaults = {}
    if not sandbox.host_network and on.pod_settings.unprivileged_ports:
        defaults["net.ipv4.ip_unprivileged_port_start"] = "0"
    if not sandbox.host_network and on.pod_settings.unprivileged_icmp:
        defaults["net.ipv4.ping_group_range"] = "0 2147483647"
    return {**defaults, **sysctls}


def check_pod(on: Collaborators, config: pb.PodSandboxConfig, handler: str) -> dict[str, str]:
    """What can be known to be wrong before anything is made, an unknown handler first; gives the checked sysctls."""
    on.handlers.require(handler)
    options = config.linux.security_context.namespace_options
    if on.handlers.isolates(handler) and pb.NODE in (options.network, options.pid, options.ipc):
        raise FailedPrecondition(
            f"handler {handler or on.handlers.default!r} gives pods a kernel of their own: the host's network, PIDs "
            "and IPC need a handler whose containers are processes of the host"
        )
    if pod_id_maps(options) is not None:
        raise FailedPrecondition(
            "config.linux.security_context.namespace_options.userns_options: Docker has one user namespace for all "
            "containers (dockerd --userns-remap) and none for a pod; the native backend has"
        )
    if config.hostname and options.network == pb.NODE and config.hostname != socket.gethostname():
        raise InvalidArgument("can't differ from the node's on the host network", field="config.hostname")
    selinux.check(
        selinux_options(config.linux.security_context.selinux_options),
        "config.linux.security_context.selinux_options",
    )
    return check_sysctls(config.linux.sysctls, host_network=options.network == pb.NODE, host_ipc=options.ipc == pb.NODE)


def reserve(on: Collaborators, config: pb.PodSandboxConfig, handler: str) -> Sandbox:
    """Store the record, before the first side effect. The name is taken by the record itself."""
    if (taken := on.sandboxes.by_key(sandbox_key(config))) is not None:
        metadata = config.metadata
        raise AlreadyExists(
            f"pod {metadata.namespace}/{metadata.name} attempt {metadata.attempt} exists as {taken.id[:13]}: "
            "remove it first"
        )
    sandbox_id = new_id()
    host_network = config.linux.security_context.namespace_options.network == pb.NODE
    parent = on.cgroups.pod_parent(config.linux.cgroup_parent, sandbox_id)
    on.sandboxes.hidden.add(sandbox_id)
    return on.sandboxes.add(
        SandboxRecord(
            id=sandbox_id, config=config.SerializeToString(), handler=handler,
            created_at=on.sandboxes.next_created_at(), boot=boot_id(), cgroup_parent=parent,
            made_cgroups=tuple(on.cgroups.missing_parents(parent)), pinned=() if host_network else ("net",),
            selinux_level=selinux_level(on, config),
            hostname=socket.gethostname() if host_network else config.hostname or sandbox_id[:12],
            network_wanted=not host_network, sandbox_container=True,
        )
    )  # fmt: skip
