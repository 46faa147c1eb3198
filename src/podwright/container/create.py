"""CreateContainer, step by step. Each step's undo is registered before the step, and is what remove calls."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import msgspec

from podwright.base.errors import AlreadyExists, InvalidArgument, NotFound
from podwright.base.files import write_plain
from podwright.base.ids import new_id
from podwright.base.inflight import Stage
from podwright.base.log import get_logger, log_context
from podwright.base.undo import Undo
from podwright.container.collaborators import Collaborators
from podwright.container.exits import Exits
from podwright.container.model import Container, ContainerRecord, ContainerUser, container_key
from podwright.container.remove import take_down
from podwright.container.spec.build import Built, SandboxFacts, build_container_spec
from podwright.criapi import api_pb2 as pb
from podwright.image.model import ImageRecord
from podwright.linux.paths import make_directories_in_root, read_in_root
from podwright.monitor.base import Launch
from podwright.state.boot import boot_id

log = get_logger(__name__)

ACCOUNT_FILE_LIMIT_BYTES = 10 * 1024 * 1024
"""The most that is read of an image's /etc/passwd or /etc/group (CVE-2026-47262)."""


async def create_container(
    on: Collaborators, exits: Exits, sandbox: SandboxFacts, config: pb.ContainerConfig, stage: Stage
) -> Container:
    """Make a CREATED container, or leave nothing. Raises InvalidArgument, NotFound (image), AlreadyExists, and what
    the drivers raise."""
    image = find_image(on, config)
    container = reserve(on, sandbox, config, image)
    with log_context(container=container.id[:13]):
        async with Undo("create container") as undo:
            undo.add("take the container down", partial(_abandon, on, exits, container, undo))
            async with on.locks.hold(container.id):
                await _bring_up(on, exits, sandbox, container, image, stage)
            on.containers.hidden.discard(container.id)
            undo.keep()
    return container


async def _bring_up(
    on: Collaborators, exits: Exits, sandbox: SandboxFacts, container: Container, image: ImageRecord, stage: Stage
) -> None:
    stage("root file system")
    rootfs = mount_rootfs(on, container, image)
    stage("runtime specification")
    built = build_container_spec(
        config=container.config, sandbox=sandbox, image=image.facts(), rootfs=rootfs, container_id=container.id,
        cgroups_path=container.record.cgroups_path,
        passwd=read_in_root(rootfs, "etc/passwd", limit_bytes=ACCOUNT_FILE_LIMIT_BYTES),
        group=read_in_root(rootfs, "etc/group", limit_bytes=ACCOUNT_FILE_LIMIT_BYTES),
        host=on.host, target_pid=_target_pid(on, sandbox, container),
    )  # fmt: skip
    prepare_host(rootfs, built)
    bundle = on.layout.bundle(container.id)
    write_plain(bundle / "config.json", msgspec.json.encode(built.spec), mode=0o600)
    stage("runtime create")
    launch = launch_of(on, sandbox, container)
    created = await on.monitor.create(launch)
    on.containers.update(
        container.id, created_at=on.containers.next_created_at(), stop_signal=built.stop_signal,
        user=ContainerUser(built.user.uid, built.user.gid, tuple(built.user.supplemental_groups)),
        pid=created.process.pid, pid_start_time=created.process.start_time,
        monitor_pid=created.monitor.pid, monitor_start_time=created.monitor.start_time,
    )  # fmt: skip
    exits.watch(container)
    stage("created")


def find_image(on: Collaborators, config: pb.ContainerConfig) -> ImageRecord:
    """The image by whatever name the request has (the kubelet sends the id)."""
    image = on.images.get(config.image.image)
    if image is None:
        raise NotFound(f"image {config.image.image!r} is not here: pull it first")
    return image


def reserve(on: Collaborators, sandbox: SandboxFacts, config: pb.ContainerConfig, image: ImageRecord) -> Container:
    """Store the record, before the first side effect."""
    taken = on.containers.by_key(container_key(sandbox.id, config))
    if taken is not None:
        raise AlreadyExists(
            f"container {config.metadata.name} attempt {config.metadata.attempt} exists in this pod as "
            f"{taken.id[:13]}: remove it first"
        )
    container_id = new_id()
    log_path = str(Path(sandbox.log_directory, config.log_path)) if sandbox.log_directory and config.log_path else ""
    on.containers.hidden.add(container_id)
    return on.containers.add(
        ContainerRecord(
            id=container_id, sandbox_id=sandbox.id, config=config.SerializeToString(), handler=sandbox.handler,
            image_id=image.id, image_ref=image.repo_digests[0] if image.repo_digests else image.id,
            reserved_at=on.containers.next_created_at(), boot=boot_id(), log_path=log_path,
            cgroups_path=on.cgroups.container_path(sandbox.cgroup_parent, container_id),
            cgroup=on.cgroups.kernel_path(sandbox.cgroup_parent, container_id),
        )
    )  # fmt: skip


def mount_rootfs(on: Collaborators, container: Container, image: ImageRecord) -> Path:
    """The container's own writable layer over the image's layers, mounted in its bundle."""
    rootfs = on.layout.rootfs(container.id)
    rootfs.mkdir(mode=0o700, parents=True)
    on.snapshots.prepare(container.id, image.diff_ids)
    on.snapshots.mount(container.id, rootfs)
    return rootfs


def prepare_host(rootfs: Path, built: Built) -> None:
    """What the specification takes for granted: the working directory and the host side of mounts."""
    for directory in built.missing_host_directories:
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgument(
                f"{directory} is missing and can't be made: {error.strerror}", field="mounts"
            ) from error
    cwd = built.spec.process.cwd
    try:
        make_directories_in_root(rootfs, cwd)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EXDEV):
            raise InvalidArgument(f"{cwd!r} is not a directory in the image", field="working_dir") from error
        raise


def launch_of(on: Collaborators, sandbox: SandboxFacts, container: Container) -> Launch:
    config, record = container.config, container.record
    log_path = Path(record.log_path) if record.log_path else None
    return Launch(
        container_id=container.id, name=config.metadata.name, bundle=on.layout.bundle(container.id),
        command=on.handlers.runtime(sandbox.handler).command, log_path=log_path, stdin=config.stdin,
        stdin_once=config.stdin_once, terminal=config.tty,
    )  # fmt: skip


def _target_pid(on: Collaborators, sandbox: SandboxFacts, container: Container) -> int:
    """The first process of the container whose PID namespace is to be joined; 0 where none is asked for."""
    options = container.config.linux.security_context.namespace_options
    if options.pid != pb.TARGET:
        return 0
    target = on.containers.find(options.target_id)
    if target.record.sandbox_id != sandbox.id:
        raise InvalidArgument(
            f"container {target.id[:13]} belongs to another pod",
            field="config.linux.security_context.namespace_options.target_id",
        )
    if not target.running:
        raise InvalidArgument(
            f"container {target.id[:13]} does not run",
            field="config.linux.security_context.namespace_options.target_id",
        )
    return target.record.pid


async def _abandon(on: Collaborators, exits: Exits, container: Container, undo: Undo) -> None:
    """Undo of all steps. Where it fails the record stays, without created_at, and remove tries again."""
    try:
        await take_down(on, exits, container)
    except BaseException:
        on.containers.hidden.discard(container.id)
        raise
    on.containers.remove(container.id)
