"""CreateContainer: record first, then the engine's container, then the facts. The undo is what remove calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from podwright.base.errors import AlreadyExists, InvalidArgument, NotFound
from podwright.base.ids import new_id
from podwright.base.inflight import Stage
from podwright.base.log import log_context
from podwright.base.tasks import in_thread
from podwright.base.undo import Undo
from podwright.container.create import image_facts, make_missing_directories
from podwright.container.model import Container, ContainerRecord, ContainerUser, ImageVolume, container_key
from podwright.container.relabel import relabel_sources
from podwright.container.spec.facts import RequestFacts, SandboxFacts
from podwright.container.spec.inspect import inspect_request
from podwright.container.spec.security import selinux_labels
from podwright.container.spec.signals import stop_signal
from podwright.container.spec.user import ResolvedUser, resolve_user
from podwright.container.spec.userns import check_container
from podwright.criapi import api_pb2 as pb
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.accounts import AccountFiles
from podwright.docker.container.config import Place, container_body
from podwright.docker.container.image_volumes import find_image_volumes, mount_image_volumes
from podwright.docker.container.logs import Logs
from podwright.docker.container.remove import take_down
from podwright.docker.container.unsupported import check_mounts, check_supported
from podwright.docker.engine_containers import create
from podwright.docker.naming import container_name, pod_name
from podwright.image.model import ImageRecord
from podwright.sandbox.model import Sandbox
from podwright.state.boot import boot_id

_SCOPE = "docker"
"""The prefix of Docker's scopes where systemd makes the cgroups."""


async def create_container(
    on: Collaborators, logs: Logs, accounts: AccountFiles, sandbox: Sandbox, config: pb.ContainerConfig, stage: Stage
) -> Container:
    """Make a CREATED container, or leave nothing.

    Raises InvalidArgument, FailedPrecondition, NotFound (image, user), AlreadyExists, and the engine's refusals.
    """
    check_supported(config)
    image = await on.images.find(config.image.image)
    if image is None:
        raise NotFound(f"image {config.image.image!r} is not here: pull it first")
    volumes = await find_image_volumes(on, config.mounts)
    container = reserve(on, sandbox, config, image, volumes)
    with log_context(container=container.id[:13]):
        async with Undo("create container") as undo:
            undo.add("take the container down", partial(_abandon, on, logs, container))
            async with on.locks.hold(container.id):
                await _bring_up(on, logs, accounts, sandbox, container, image, stage)
            on.containers.hidden.discard(container.id)
            undo.keep()
    return container


async def _bring_up(
    on: Collaborators, logs: Logs, accounts: AccountFiles, sandbox: Sandbox, container: Container, image: ImageRecord,
    stage: Stage,
) -> None:  # fmt: skip
    config, facts, host = container.config, sandbox_facts(on, sandbox), on.host()
    stage("image")
    views = await mount_image_volumes(on, container)
    request = await in_thread(partial(inspect_request, config, host, image_volumes=views))
    check_container(config.linux.security_context.namespace_options, facts)
    check_mounts(config, facts, host, request)
    user = await _user(accounts, config, image)
    what = image_facts(config, image)
    body = container_body(config, facts, what, host, request, user, _place(on, sandbox, container))
    signal = stop_signal(config.stop_signal, what.stop_signal)
    await _prepare_mounts(on, config, facts, request)
    logs.create(container)
    stage("Docker create")
    engine_id = await create(on.engine, container_name(container), body)
    on.containers.update(
        container.id, created_at=on.containers.next_created_at(), stop_signal=signal,
        cgroup=_cgroup(on, sandbox, engine_id),
        user=ContainerUser(user.uid, user.gid, tuple(user.supplemental_groups)),
    )  # fmt: skip
    stage("created")


async def _user(accounts: AccountFiles, config: pb.ContainerConfig, image: ImageRecord) -> ResolvedUser:
    found = await accounts.read(image.id)
    return resolve_user(
        config.linux.security_context, image.config.user, passwd=found.passwd, group=found.group
    )  # fmt: skip


async def _prepare_mounts(
    on: Collaborators, config: pb.ContainerConfig, facts: SandboxFacts, request: RequestFacts
) -> None:
    make_missing_directories(source.path for source in request.sources.values() if not source.exists)
    _, label = selinux_labels(config.linux.security_context, facts, on.host())
    await relabel_sources(config, request, label)


def _place(on: Collaborators, sandbox: Sandbox, container: Container) -> Place:
    return Place(
        container_id=container.id, instance=on.instance, runtime=on.handlers.require(sandbox.record.handler),
        sandbox_name=pod_name(sandbox), target_name=_target(on, sandbox, container),
        log_max_bytes=on.settings.engine_log_max_bytes, gives_privileges=on.gives_privileges(),
    )  # fmt: skip


def _target(on: Collaborators, sandbox: Sandbox, container: Container) -> str:
    """The container that PID mode TARGET names; '' for the other modes."""
    options = container.config.linux.security_context.namespace_options
    if options.pid != pb.TARGET:
        return ""
    field = "config.linux.security_context.namespace_options.target_id"
    target = on.containers.find(options.target_id)
    if target.record.sandbox_id != sandbox.id:
        raise InvalidArgument(f"container {target.id[:13]} belongs to another pod", field=field)
    if not target.running:
        raise InvalidArgument(f"container {target.id[:13]} does not run", field=field)
    return container_name(target)


def reserve(
    on: Collaborators, sandbox: Sandbox, config: pb.ContainerConfig, image: ImageRecord,
    image_volumes: tuple[ImageVolume, ...] = (),
) -> Container:  # fmt: skip
    """Store the record, before the first side effect."""
    taken = on.containers.by_key(container_key(sandbox.id, config))
    if taken is not None:
        raise AlreadyExists(
            f"container {config.metadata.name} attempt {config.metadata.attempt} exists in this pod as "
            f"{taken.id[:13]}: remove it first"
        )
    container_id, directory = new_id(), sandbox.config.log_directory
    on.containers.hidden.add(container_id)
    return on.containers.add(
        ContainerRecord(
            id=container_id, sandbox_id=sandbox.id, config=config.SerializeToString(), handler=sandbox.record.handler,
            image_id=image.id, image_ref=image.reference_for(config.image.user_specified_image, config.image.image),
            reserved_at=on.containers.next_created_at(), boot=boot_id(),
            image_volumes=image_volumes,
            log_path=str(Path(directory, config.log_path)) if directory and config.log_path else "",
        )
    )  # fmt: skip


def sandbox_facts(on: Collaborators, sandbox: Sandbox) -> SandboxFacts:
    """The pod, as its containers get it; the paths of namespaces are the sandbox container's business."""
    config, record, layout = sandbox.config, sandbox.record, on.layout
    of_others = {
        "network": sandbox.host_network, "ipc": sandbox.host_ipc, "pid": sandbox.namespace_options.pid != pb.POD
    }  # fmt: skip
    return SandboxFacts(
        id=sandbox.id, name=config.metadata.name, namespace=config.metadata.namespace, uid=config.metadata.uid,
        handler=record.handler, cgroup_parent=record.cgroup_parent, hostname=record.hostname,
        namespaces={kind: "" for kind, theirs in of_others.items() if not theirs},
        hosts=layout.pod_file(sandbox.id, "hosts"), resolv_conf=layout.pod_file(sandbox.id, "resolv.conf"),
        hostname_file=layout.pod_file(sandbox.id, "hostname"), log_directory=config.log_directory,
        privileged=config.linux.security_context.privileged, selinux_level=record.selinux_level,
    )  # fmt: skip


def _cgroup(on: Collaborators, sandbox: Sandbox, engine_id: str) -> str:
    """Where the container's processes will be, as the kernel says it."""
    parent = on.cgroups.kernel_path(sandbox.record.cgroup_parent)
    return f"{parent}/{_SCOPE}-{engine_id}.scope" if on.cgroups.naming == "systemd" else f"{parent}/{engine_id}"


async def _abandon(on: Collaborators, logs: Logs, container: Container) -> None:
    """Undo of all steps. Where it fails the record stays, without created_at, and remove tries again."""
    try:
        await take_down(on, logs, container)
    except BaseException:
        on.containers.hidden.discard(container.id)
        raise
    on.containers.remove(container.id)
