"""CreateContainer, step by step. Each step's undo is registered before the step, and is what remove calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from podwright.base.errors import AlreadyExists, InvalidArgument, NotFound
from podwright.base.files import write_plain
from podwright.base.ids import new_id
from podwright.base.inflight import Stage
from podwright.base.log import get_logger, log_context
from podwright.base.tasks import in_thread
from podwright.base.undo import Undo
from podwright.cgroup.naming import kernel_path_of
from podwright.container.abi import runs_other_abis
from podwright.container.checkpoint.restore import Restore, check_same, fill
from podwright.container.collaborators import Collaborators
from podwright.container.exits import Exits
from podwright.container.hidden_paths import hide_by_mounts
from podwright.container.image_volumes import find_image_volumes, mount_image_volumes
from podwright.container.model import Container, ContainerRecord, ContainerUser, ImageVolume, container_key
from podwright.container.mountpoints import check_mount_points, settle_mount_points
from podwright.container.relabel import relabel_sources
from podwright.container.remove import take_down
from podwright.container.spec.build import Built, build_container_spec, encode
from podwright.container.spec.facts import HostFacts, ImageFacts, RequestFacts, SandboxFacts
from podwright.container.spec.inspect import cdi_devices, inspect_request
from podwright.container.spec.process import check_working_directory
from podwright.container.spec.security import selinux_labels
from podwright.container.volumes import mount_idmapped, plan_idmapped, unmount_idmapped
from podwright.criapi import api_pb2 as pb
from podwright.image.model import ImageRecord
from podwright.linux.idmap import IdMaps
from podwright.linux.paths import make_directories_in_root, read_in_root
from podwright.monitor.base import Launch, Monitored
from podwright.nri.base import Event
from podwright.runtime.base import CommandNotRunnable
from podwright.state.boot import boot_id

log = get_logger(__name__)

ACCOUNT_FILE_LIMIT_BYTES = 10 * 1024 * 1024
"""The most that is read of an image's /etc/passwd or /etc/group (CVE-2026-47262)."""


async def create_container(
    on: Collaborators, exits: Exits, sandbox: SandboxFacts, config: pb.ContainerConfig, stage: Stage,
    restore: Restore | None = None,
) -> Container:  # fmt: skip
    """Make a CREATED container, or leave nothing. `restore`: with the files of a checkpoint, and no process before its
    start. Raises InvalidArgument, NotFound (image), AlreadyExists, and what the drivers raise."""
    image = find_image(on, config)
    if restore is not None and restore.image_id != image.id:
        raise InvalidArgument(f"was checkpointed with image {restore.image_id}, not {image.id}", field="image.image")
    container = reserve(
        on, sandbox, config, image, find_image_volumes(on.images, config.mounts),
        restored_from=restore.checkpoint if restore is not None else None,
    )  # fmt: skip
    with log_context(container=container.id[:13]):
        async with Undo("create container") as undo:
            undo.add("take the container down", partial(_abandon, on, exits, container, undo))
            async with on.locks.hold(container.id), on.plugins.section():
                await _bring_up(on, exits, sandbox, container, image, undo, stage, restore)
            on.containers.hidden.discard(container.id)
            undo.keep()
        await on.plugins.after(Event.POST_CREATE_CONTAINER, container.id)
    return container


async def _bring_up(
    on: Collaborators, exits: Exits, sandbox: SandboxFacts, container: Container, image: ImageRecord, undo: Undo,
    stage: Stage, restore: Restore | None,
) -> None:  # fmt: skip
    stage("root file system")
    host = on.host(sandbox.handler)
    _, label = selinux_labels(container.config.linux.security_context, sandbox, host)
    rootfs = await mount_rootfs(on, container, image, sandbox, label, restore)
    check_mount_points(rootfs)
    stage("runtime specification")
    volumes = await mount_image_volumes(on, container, sandbox.userns)
    found = await inspect(on, container, image, rootfs, host, volumes)
    request = plan_idmapped(container.config, on.layout.bundle(container.id), found)
    built = specify(on, sandbox, container, image, rootfs, request)
    stage("NRI plugins")
    undo.add("tell the plugins", partial(_take_back, on, container))
    built = replace(built, spec=await on.plugins.create(container.id, built.spec))
    if built.spec.linux.cgroups_path != container.record.cgroups_path:  # a plugin's choice
        path = built.spec.linux.cgroups_path
        on.containers.update(container.id, cgroups_path=path, cgroup=kernel_path_of(path))
    await write_bundle(on, sandbox, container, rootfs, request, built)
    user = ContainerUser(built.user.uid, built.user.gid, tuple(built.user.supplemental_groups))
    if restore is not None:
        check_same(built.spec, restore)
        created_at = on.containers.next_created_at()
        on.containers.update(container.id, created_at=created_at, stop_signal=built.stop_signal, user=user)
        return
    stage("runtime create")
    try:
        created = await on.monitor.create(launch_of(on, container, in_userns=sandbox.userns is not None))
    except CommandNotRunnable as error:
        raise _naming(error, built.spec.process.args[0]) from None
    unmount_idmapped(container.config, request)
    on.containers.update(
        container.id, created_at=on.containers.next_created_at(), stop_signal=built.stop_signal, user=user,
        **process_facts(on, container, created),
    )  # fmt: skip
    exits.watch(container)
    stage("created")


def specify(
    on: Collaborators, sandbox: SandboxFacts, container: Container, image: ImageRecord, rootfs: Path,
    request: RequestFacts,
) -> Built:  # fmt: skip
    """The specification, from the request, the image, and what was found out about both."""
    return build_container_spec(
        config=container.config, sandbox=sandbox, image=image_facts(container.config, image), rootfs=rootfs,
        container_id=container.id, cgroups_path=container.record.cgroups_path,
        passwd=read_in_root(rootfs, "etc/passwd", limit_bytes=ACCOUNT_FILE_LIMIT_BYTES),
        group=read_in_root(rootfs, "etc/group", limit_bytes=ACCOUNT_FILE_LIMIT_BYTES),
        host=on.host(sandbox.handler), request=request, target_pid=_target_pid(on, sandbox, container),
    )  # fmt: skip


async def write_bundle(
    on: Collaborators, sandbox: SandboxFacts, container: Container, rootfs: Path, request: RequestFacts, built: Built
) -> None:
    """Make what the specification counts on, on the host and in the root file system, and write it."""
    make_missing_directories(built.missing_host_directories)
    await relabel_sources(container.config, request, built.spec.linux.mount_label)
    owner = sandbox.id_maps.root if sandbox.id_maps is not None else None
    built.spec.mounts = settle_mount_points(rootfs, built.spec.mounts, request.sources, owner=owner)
    make_working_directory(rootfs, built.working_dir, owner=owner)
    if not on.host(sandbox.handler).hidden_paths:
        linux = built.spec.linux
        built.spec.mounts = hide_by_mounts(
            rootfs, built.spec.mounts, masked=linux.masked_paths, read_only=linux.readonly_paths
        )
    await mount_idmapped(container.config, sandbox, request)
    write_plain(on.layout.bundle(container.id) / "config.json", encode(built.spec), mode=0o600)


def process_facts(on: Collaborators, container: Container, created: Monitored) -> dict[str, object]:
    """What is stored of a container's process once there is one."""
    return {
        "cgroup": _cgroup_of(on, container, created.process.pid),
        "pid": created.process.pid, "pid_start_time": created.process.start_time,
        "monitor_pid": created.monitor.pid, "monitor_start_time": created.monitor.start_time,
    }  # fmt: skip


def find_image(on: Collaborators, config: pb.ContainerConfig) -> ImageRecord:
    """The image by whatever name the request has (the kubelet sends the id)."""
    image = on.images.get(config.image.image)
    if image is None:
        raise NotFound(f"image {config.image.image!r} is not here: pull it first")
    return image


def reserve(
    on: Collaborators, sandbox: SandboxFacts, config: pb.ContainerConfig, image: ImageRecord,
    volumes: tuple[ImageVolume, ...] = (), *, restored_from: str | None = None,
) -> Container:  # fmt: skip
    """Store the record, before the first side effect."""
    taken = on.containers.by_key(container_key(sandbox.id, config))
    if taken is not None:
        raise AlreadyExists(
            f"container {config.metadata.name} attempt {config.metadata.attempt} exists in this pod as "
            f"{taken.id[:13]}: remove it first"
        )
    container_id = new_id()
    directory = sandbox.log_directory
    log_path = str(Path(directory, config.log_path)) if directory and config.log_path else ""
    on.containers.hidden.add(container_id)
    return on.containers.add(
        ContainerRecord(
            id=container_id, sandbox_id=sandbox.id, config=config.SerializeToString(), handler=sandbox.handler,
            image_id=image.id, image_ref=image.reference_for(config.image.user_specified_image, config.image.image),
            reserved_at=on.containers.next_created_at(), boot=boot_id(), log_path=log_path,
            image_volumes=volumes, restored=restored_from is not None, restored_from=restored_from or "",
            cgroups_path=on.cgroups.container_path(sandbox.cgroup_parent, container_id),
            cgroup=on.cgroups.kernel_path(sandbox.cgroup_parent, container_id),
        )
    )  # fmt: skip


async def mount_rootfs(
    on: Collaborators, container: Container, image: ImageRecord, sandbox: SandboxFacts, label: str,
    restore: Restore | None = None,
) -> Path:  # fmt: skip
    """The container's own writable layer over the image's layers, mounted in its bundle."""
    rootfs = on.layout.rootfs(container.id)
    rootfs.mkdir(mode=0o700, parents=True)
    if sandbox.id_maps is not None:
        let_in(on, container, sandbox.id_maps)
    on.snapshots.prepare(container.id, image.diff_ids, maps=sandbox.id_maps)
    if restore is not None:
        await fill(on, container.id, restore)
    mount = partial(on.snapshots.mount, container.id, rootfs, userns=sandbox.userns, label=label)
    if sandbox.userns is None:
        mount()
    else:  # by way of a mount namespace, which takes the longer to make the more mounts the machine has
        await in_thread(mount)
    return rootfs


def let_in(on: Collaborators, container: Container, maps: IdMaps) -> None:
    """Let the root of a user namespace, who does the runtime's mounting there, pass through the bundle; nobody else."""
    on.layout.open_to_namespaces()
    bundle = on.layout.bundle(container.id)
    os.chown(bundle, 0, maps.root[1])
    bundle.chmod(0o710)


def image_facts(config: pb.ContainerConfig, image: ImageRecord) -> ImageFacts:
    return ImageFacts(
        id=image.id, name=config.image.user_specified_image or config.image.image,
        entrypoint=tuple(image.config.entrypoint), command=tuple(image.config.cmd),
        environment=tuple(image.config.env), user=image.config.user, working_dir=image.config.working_dir,
        stop_signal=image.config.stop_signal,
    )  # fmt: skip


async def inspect(
    on: Collaborators, container: Container, image: ImageRecord, rootfs: Path, host: HostFacts,
    volumes: Mapping[int, Path],
) -> RequestFacts:  # fmt: skip
    """What the request refers to on the host, and what the image can run. A thread looks where a mount may hang."""
    config = container.config
    if config.mounts or config.devices or cdi_devices(config) or config.linux.security_context.privileged:
        facts = await in_thread(partial(inspect_request, config, host, image_volumes=volumes, cdi=on.cdi))
    else:
        facts = inspect_request(config, host)
    programs = [*config.command[:1], *image.config.entrypoint[:1], *config.args[:1], *image.config.cmd[:1], ""]
    # A filter that is compiled ahead costs the same for all.
    cheap = bool(facts.seccomp_filter) or on.settings.seccomp_abis == "all"
    all_abis = cheap or runs_other_abis(rootfs, programs[0])
    return replace(facts, all_abis=all_abis)


def make_missing_directories(paths: Iterable[Path]) -> None:
    """Host paths of mounts that are missing become directories, as CRI-O does. Raises InvalidArgument."""
    for directory in dict.fromkeys(paths):
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgument(
                f"{directory} is missing and can't be made: {error.strerror}", field="mounts"
            ) from error


def make_working_directory(rootfs: Path, directory: str, *, owner: tuple[int, int] | None = None) -> None:
    """The working directory, made where it is missing, resolved inside the rootfs (the class of CVE-2024-21626)."""
    try:
        check_working_directory(make_directories_in_root(rootfs, directory, owner=owner), directory)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EXDEV):
            raise InvalidArgument(f"{directory!r} is not a directory in the image", field="working_dir") from error
        raise


def launch_of(on: Collaborators, container: Container, *, in_userns: bool) -> Launch:
    config, record = container.config, container.record
    runtime = on.handlers.runtime(record.handler)
    command = runtime.command_in_user_namespace if in_userns and not config.stdin else runtime.command
    log_path = Path(record.log_path) if record.log_path else None
    return Launch(
        container_id=container.id, name=config.metadata.name, bundle=on.layout.bundle(container.id),
        command=command, log_path=log_path, stdin=config.stdin, stdin_once=config.stdin_once, terminal=config.tty,
        restore_from=on.layout.restore(container.id) if record.restored else None,
    )  # fmt: skip


def _cgroup_of(on: Collaborators, container: Container, pid: int) -> str:
    """The container's cgroup, or the one in it that the runtime (crun, in a systemd scope) put its processes into."""
    expected, found = container.record.cgroup, on.cgroups.path_of(pid)
    return found if found.startswith(f"{expected}/") else expected


def _target_pid(on: Collaborators, sandbox: SandboxFacts, container: Container) -> int:
    """The first process of the container that PID mode TARGET names; 0 for the other modes."""
    options = container.config.linux.security_context.namespace_options
    if options.pid != pb.TARGET:
        return 0
    field = "config.linux.security_context.namespace_options.target_id"
    target = on.containers.find(options.target_id)
    if target.record.sandbox_id != sandbox.id:
        raise InvalidArgument(f"container {target.id[:13]} belongs to another pod", field=field)
    if not target.running:
        raise InvalidArgument(f"container {target.id[:13]} does not run", field=field)
    return target.record.pid


def _naming(error: CommandNotRunnable, program: str) -> CommandNotRunnable:
    """The error with the program's name in it, which crun leaves out."""
    words = str(error)
    return error if program in words else CommandNotRunnable(f"{program}: {words}", exit_code=error.exit_code)


async def _take_back(on: Collaborators, container: Container) -> None:
    """Plugins that have heard of the container hear of its end, as of any other's."""
    await on.plugins.after(Event.STOP_CONTAINER, container.id)
    await on.plugins.after(Event.REMOVE_CONTAINER, container.id)


async def _abandon(on: Collaborators, exits: Exits, container: Container, undo: Undo) -> None:
    """Undo of all steps. Where it fails the record stays, without created_at, and remove tries again."""
    try:
        await take_down(on, exits, container)
    except BaseException:
        on.containers.hidden.discard(container.id)
        raise
    on.containers.remove(container.id)
