"""RunPodSandbox, step by step. Each step's undo is registered before the step, and is what stop and remove call."""

from __future__ import annotations

import socket
import time
from functools import partial
from pathlib import Path

from podwright.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from podwright.base.files import remove_tree
from podwright.base.ids import new_id
from podwright.base.inflight import Stage
from podwright.base.log import get_logger, log_context
from podwright.base.undo import Undo
from podwright.container.spec.security import selinux_options
from podwright.container.spec.userns import pod_id_maps
from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from podwright.linux.userns import user_namespace
from podwright.network import namespaces
from podwright.nri.base import Event
from podwright.sandbox.collaborators import Collaborators, PodParts
from podwright.sandbox.files import mount_shm, write_pod_files
from podwright.sandbox.model import Sandbox, SandboxRecord
from podwright.sandbox.network import join_network, leave_network
from podwright.sandbox.pause import Pause
from podwright.sandbox.policy import choose_handler
from podwright.sandbox.ports import check_host_ports
from podwright.sandbox.size import handler_overhead, pod_limits
from podwright.sandbox.stop import remove_cgroups, unpin
from podwright.sandbox.sysctls import check_sysctls
from podwright.security import selinux
from podwright.state.boot import boot_id

log = get_logger(__name__)


async def run_sandbox(
    on: Collaborators, pause: Pause, config: pb.PodSandboxConfig, handler: str, stage: Stage
) -> Sandbox:
    """Make a pod READY, or leave nothing. Where undoing fails the record stays, NOTREADY, for Stop and Remove.

    Raises InvalidArgument, AlreadyExists, and what the drivers raise.
    """
    handler = choose_handler(on.settings.handler_rules, on.handlers, config, handler).handler
    sysctls = check_pod(on, config, handler)
    check_host_ports(config, on.sandboxes)
    sandbox = reserve(on, config, handler)
    with log_context(pod_id=sandbox.id[:13]):
        async with Undo("run sandbox", timeout_s=on.settings.undo_timeout_s) as undo:
            undo.add("forget the record", partial(forget_or_show, on, sandbox, undo))
            async with on.locks.hold(sandbox.id):
                await _bring_up(on, pause, sandbox, sysctls, undo, stage)
            on.sandboxes.hidden.discard(sandbox.id)
            undo.keep()
        pause.watch(sandbox)
        log.info("pod is ready", ips=sandbox.ips or None)
    return sandbox


async def _bring_up(
    on: Collaborators, pause: Pause, sandbox: Sandbox, sysctls: dict[str, str], undo: Undo, stage: Stage
) -> None:
    stage("pod directory")
    directory = on.layout.sandbox(sandbox.id)
    undo.add("remove the pod directory", partial(remove_tree, directory))
    directory.mkdir(mode=0o711)
    if sandbox.id_maps is not None:
        on.layout.open_to_namespaces()
    if sandbox.config.log_directory:
        Path(sandbox.config.log_directory).mkdir(mode=0o755, parents=True, exist_ok=True)
    stage("namespaces")
    undo.add("unpin namespaces", partial(unpin, on, sandbox))
    await pin(on, sandbox, sysctls)
    if sandbox.record.network_wanted:
        stage("network")
        undo.add("leave the network", partial(leave_network, on, sandbox))
        await join_network(on, sandbox)
    stage("cgroup")
    undo.add("remove cgroups", partial(remove_cgroups, on, sandbox))
    make_cgroups(on, sandbox)
    stage("pod files")
    write_pod_files(on.layout, sandbox)
    undo.add("unmount /dev/shm", partial(mounts.unmount, on.layout.shm(sandbox.id), detach=True))
    mount_shm(on.layout, sandbox, size_bytes=on.settings.shm_size_bytes)
    if pause.wanted(sandbox):
        stage("sandbox container")
        undo.add("remove the sandbox container", partial(pause.remove, sandbox))
        await pause.start(sandbox)
    stage("NRI plugins")
    async with on.plugins.section():
        undo.add("tell the plugins", partial(_take_back, on, sandbox))
        await on.plugins.before(Event.RUN_POD_SANDBOX, sandbox.id)
        on.sandboxes.update(sandbox.id, ready_at=time.time_ns())
    stage("ready")


def check_pod(on: Collaborators, config: pb.PodSandboxConfig, handler: str) -> dict[str, str]:
    """What can be known to be wrong before anything is made, an unknown handler first; gives the checked sysctls."""
    options = config.linux.security_context.namespace_options
    if on.handlers.runtime(handler).own_kernel and pb.NODE in (options.network, options.pid, options.ipc):
        raise FailedPrecondition(
            f"handler {handler or on.handlers.default!r} gives pods a kernel of their own: the host's network, PIDs "
            "and IPC need a handler whose containers are processes of the host"
        )
    if pod_id_maps(options) is not None and (problem := on.user_namespace_problem(handler)):
        raise FailedPrecondition(f"handler {handler or on.handlers.default!r} offers no user namespaces: {problem}")
    if config.hostname and options.network == pb.NODE and config.hostname != socket.gethostname():
        raise InvalidArgument("can't differ from the node's on the host network", field="config.hostname")
    selinux.check(
        selinux_options(config.linux.security_context.selinux_options),
        "config.linux.security_context.selinux_options",
    )
    return check_sysctls(config.linux.sysctls, host_network=options.network == pb.NODE, host_ipc=options.ipc == pb.NODE)


def reserve(on: Collaborators, config: pb.PodSandboxConfig, handler: str) -> Sandbox:
    """Store the record, before the first side effect. The name is taken by the record itself."""
    metadata = config.metadata
    key = (metadata.name, metadata.namespace, metadata.uid, metadata.attempt)
    if (taken := on.sandboxes.by_key(key)) is not None:
        raise AlreadyExists(
            f"pod {metadata.namespace}/{metadata.name} attempt {metadata.attempt} exists as {taken.id[:13]}: "
            "remove it first"
        )
    sandbox_id = new_id()
    options = config.linux.security_context.namespace_options
    host_network = options.network == pb.NODE
    parent = on.cgroups.pod_parent(config.linux.cgroup_parent, sandbox_id)
    hosts = {
        "user": pod_id_maps(options) is None, "net": host_network, "ipc": options.ipc == pb.NODE, "uts": host_network
    }  # fmt: skip
    pinned = [kind for kind, host in hosts.items() if not host]
    overhead = handler_overhead(config.linux.overhead, on.handlers.settings(handler))
    on.sandboxes.hidden.add(sandbox_id)
    return on.sandboxes.add(
        SandboxRecord(
            id=sandbox_id, config=config.SerializeToString(), handler=handler,
            created_at=on.sandboxes.next_created_at(), boot=boot_id(), cgroup_parent=parent,
            made_cgroups=tuple(on.cgroups.missing_parents(parent)), pinned=tuple(pinned),
            selinux_level=selinux_level(on, config),
            hostname=socket.gethostname() if host_network else config.hostname or sandbox_id[:12],
            network_wanted=not host_network, sandbox_container=on.handlers.wants_sandbox_container(handler),
            overhead=overhead.SerializeToString(deterministic=True) if overhead is not None else None,
        )
    )  # fmt: skip


def selinux_level(on: PodParts, config: pb.PodSandboxConfig) -> str:
    """The level asked for, else one that no other pod has; '' where there is no SELinux."""
    if not selinux.available():
        return ""
    asked = config.linux.security_context.selinux_options.level
    return asked or selinux.new_level({other.record.selinux_level for other in on.sandboxes})


async def pin(on: Collaborators, sandbox: Sandbox, sysctls: dict[str, str]) -> None:
    """Make and pin the namespaces that the pod owns; a thread does it, since unshare(2) is per thread."""
    paths = {kind: on.layout.namespace(sandbox.id, kind) for kind in sandbox.record.pinned}
    if not paths:
        return
    if "net" in paths and on.settings.unprivileged_ports:
        sysctls = {"net.ipv4.ip_unprivileged_port_start": "0", **sysctls}
    if "net" in paths and on.settings.unprivileged_icmp:
        sysctls = {"net.ipv4.ping_group_range": "0 2147483647", **sysctls}
    hostname = sandbox.record.hostname if "uts" in paths else ""
    if sandbox.id_maps is None:
        await namespaces.pin(paths, hostname=hostname, sysctls=sysctls)
        return
    # Namespaces belong to the user namespace they are made in, and with them what their root may do: so that is first.
    async with user_namespace(sandbox.id_maps, owning=[kind for kind in paths if kind != "user"]) as holder:
        of_net = {key: value for key, value in sysctls.items() if key.startswith("net.")}
        await namespaces.pin(paths, hostname=hostname, sysctls=of_net, holder=holder)
        of_ipc = {key: value for key, value in sysctls.items() if key not in of_net}
        await namespaces.write_ipc_sysctls(holder, of_ipc)


def make_cgroups(on: PodParts, sandbox: Sandbox) -> None:
    """The pod's cgroup, where the kubelet has not made it; only what we make is ours to remove."""
    on.cgroups.create_parent(sandbox.record.cgroup_parent, pod_limits(sandbox.resources, sandbox.overhead))


async def _take_back(on: Collaborators, sandbox: Sandbox) -> None:
    """Plugins that have heard of the pod hear of its end, as of any other's."""
    await on.plugins.after(Event.STOP_POD_SANDBOX, sandbox.id)
    await on.plugins.after(Event.REMOVE_POD_SANDBOX, sandbox.id)


def forget_or_show(on: PodParts, sandbox: Sandbox, undo: Undo) -> None:
    """The last undo: a record whose pod could not be taken down stays visible, so that somebody comes back to it."""
    if undo.failed:
        on.sandboxes.hidden.discard(sandbox.id)
        log.error("a pod that failed to start could not be taken down whole", steps=undo.failed)
        return
    on.sandboxes.remove(sandbox.id)
