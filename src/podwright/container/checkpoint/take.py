"""CheckpointContainer and CheckpointPod: freeze, dump, take the difference, thaw; then write archives.

    journal ──► freeze all ──► dump each, and what it wrote ──► thaw all ──► archives ──► names ──► journal
                    └── an error, the deadline, a caller that went away, a crash: thaw, and nothing is left

What is dumped and what is written belong together because nothing runs in between; what is frozen stays so no longer
than that takes. A checkpoint is for who asked: unlike other works it is given up when that caller is gone.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, Unimplemented
from podwright.base.files import disk_error, remove_tree
from podwright.base.ids import random_suffix
from podwright.base.inflight import Stage
from podwright.base.log import get_logger, log_context
from podwright.base.new_file import NewFile, spare_name
from podwright.base.tasks import Tasks, in_stoppable_thread, in_thread
from podwright.base.undo import Undo
from podwright.container.checkpoint import archive, manifest, output
from podwright.container.checkpoint.freeze import Freezer
from podwright.container.checkpoint.journal import CheckpointRecord, remove_files, undo_unfinished
from podwright.container.checkpoint.restore import Restore, unpacked
from podwright.container.checkpoint.settings import Settings
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.container.spec.userns import pod_id_maps
from podwright.runtime.base import CheckpointRequest
from podwright.state.store import Store

log = get_logger(__name__)


@dataclass(frozen=True)
class PodName:
    """Which pod it is, for messages and the manifest."""

    id: str
    name: str
    namespace: str


class Checkpoints:
    """All checkpoints of this node. The containers' locks are held while they are under way."""

    def __init__(self, on: Collaborators, store: Store, settings: Settings, tasks: Tasks) -> None:
        self._on, self._settings, self._tasks = on, settings, tasks
        self._journal = store.table("checkpoints", CheckpointRecord)

    async def recover(self) -> None:
        """Undo what a daemon was at when it died."""
        await undo_unfinished(self._on, self._journal)

    async def container(self, container: Container, location: str, timeout_s: float | None) -> None:
        """Write an archive of a running container to the file `location`, which is replaced if it is there.

        Raises InvalidArgument, FailedPrecondition, Unimplemented, DeadlineExceeded, ResourceExhausted, RuntimeFailed.
        """
        work = partial(self._container, container, location)
        await self._run(work, f"checkpoint {container.id[:13]}", timeout_s)

    async def pod(self, pod: PodName, containers: Sequence[Container], output_path: str) -> None:
        """Write archives of a pod's containers, all as of one moment, and their manifest to an empty directory.

        Raises what `container` raises, InvalidArgument also when other containers of the pod run.
        """
        await self._run(partial(self._pod, pod, containers, output_path), f"checkpoint pod {pod.id[:13]}", None)

    def unpacked(self, path: str, names: Collection[str]) -> AbstractAsyncContextManager[dict[str, Restore]]:
        """A pod's checkpoint by container name; see `restore.unpacked`."""
        return unpacked(self._on, path, names, max_bytes=self._settings.max_bytes)

    async def require_restore(self, handler: str) -> None:
        """Raises InvalidArgument (unknown handler), Unimplemented."""
        self._on.handlers.runtime(handler)
        if not self._settings.restore:
            raise Unimplemented("RestorePod is off on this node: checkpoint.restore = true in its configuration")
        await require_offered(self._on, handler)

    async def _run(self, work: partial[Coroutine[None, None, None]], name: str, timeout_s: float | None) -> None:
        task = self._tasks.start(self._bounded(work, timeout_s or self._settings.timeout_s), name=name)
        try:
            await self._tasks.join(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _bounded(self, work: partial[Coroutine[None, None, None]], timeout_s: float) -> None:
        stage = Stage()
        try:
            async with asyncio.timeout(timeout_s):
                await work(stage)
        except TimeoutError:
            raise DeadlineExceeded(f"no checkpoint within {timeout_s:g} s", stage=stage.name) from None
        except OSError as error:
            raise disk_error(error, self._on.layout.checkpoints) from error

    async def _container(self, container: Container, location: str, stage: Stage) -> None:
        path = Path(location)
        spare = spare_name(path.name)
        with output.directory_of(location) as directory, log_context(container=container.id[:13]):
            async with self._under_way([container], os.path.realpath(path.parent), (spare,)) as work:
                (parts,) = await self._dump([container], work, stage)
                stage("archive")
                with NewFile(directory, path.name, spare=spare) as new:
                    await self._write(parts, new)
                    new.publish()
        log.info("container is checkpointed", container=container.id[:13], location=location)

    async def _pod(self, pod: PodName, containers: Sequence[Container], output_path: str, stage: Stage) -> None:
        files = (*(manifest.archive_file(number) for number in range(len(containers))), manifest.FILE)
        with output.real_directory(output_path, "output_path") as directory:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._on.locks.hold(output.identity(directory)))
                output.require_empty(directory, output_path)
                left = (*files, *map(_spare, files))
                work = await stack.enter_async_context(self._under_way(containers, output_path, left))
                require_all_running(containers, self._on.containers.of_sandbox(pod.id))
                dumped = await self._dump(containers, work, stage)
                stage("archives")
                with _NewFiles(directory, files) as new:
                    sinks = [await self._write(parts, file) for parts, file in zip(dumped, new.files, strict=False)]
                    entries = tuple(
                        manifest.Archive(c.config.metadata.name, file, sink.digest, sink.size, c.record.image_id)
                        for c, file, sink in zip(containers, files, sinks, strict=False)
                    )
                    text = manifest.encode(
                        manifest.Manifest(pod_name=pod.name, pod_namespace=pod.namespace, containers=entries)
                    )
                    await in_stoppable_thread(lambda _stop: _write_synced(new.files[-1].fd, text))
                    new.publish()
        log.info("pod is checkpointed", pod=f"{pod.namespace}/{pod.name}", output_path=output_path)

    @asynccontextmanager
    async def _under_way(
        self, containers: Sequence[Container], output_path: str = "", files: tuple[str, ...] = ()
    ) -> AsyncIterator[_Work]:
        async with AsyncExitStack() as locks:
            for container in sorted(containers, key=lambda container: container.id):
                await locks.enter_async_context(self._on.locks.hold(container.id))
            await self._require(containers)
            record = CheckpointRecord(random_suffix(), tuple(c.id for c in containers), output_path, files)
            work = _Work(self._on.layout.checkpoint(record.id), Freezer(self._on, containers))
            self._journal.put(record.id, record)
            async with Undo("checkpoint") as undo:  # undone after success as well: none of it is of use any more
                undo.add("forget the checkpoint", partial(self._forget, record, undo))
                undo.add("remove its files", partial(in_thread, remove_tree, work.directory))
                undo.add("thaw", work.freezer.thaw)
                work.directory.mkdir(mode=0o700, parents=True)
                try:
                    yield work
                except BaseException:
                    remove_files(record)
                    raise

    def _forget(self, record: CheckpointRecord, undo: Undo) -> None:
        """What could not be undone is left to the next start."""
        if not undo.failed:
            self._journal.delete(record.id)

    async def _require(self, containers: Sequence[Container]) -> None:
        for container in containers:
            require_checkpointable(container)
        for handler in {container.record.handler for container in containers}:
            await require_offered(self._on, handler)

    async def _dump(self, containers: Sequence[Container], work: _Work, stage: Stage) -> list[archive.Parts]:
        stage("freeze")
        await work.freezer.freeze()
        dumped = []
        for container in containers:
            stage(f"dump {container.config.metadata.name}")
            dumped.append(await self._dump_one(container, work.directory / container.id))
        stage("thaw")
        await work.freezer.thaw()
        return dumped

    async def _dump_one(self, container: Container, directory: Path) -> archive.Parts:
        images = directory / archive.IMAGES
        images.mkdir(mode=0o700, parents=True)
        runtime = self._on.handlers.runtime(container.record.handler)
        await runtime.checkpoint(CheckpointRequest(container.id, images, directory, self._settings.timeout_s))
        await in_stoppable_thread(partial(self._difference, container, directory / archive.DIFFERENCE))
        spec = (self._on.layout.bundle(container.id) / "config.json").read_bytes()
        log_path = Path(container.record.log_path) if container.record.log_path else None
        return archive.Parts(directory, archive.describe(container, runtime.program.name), spec, log_path)

    def _difference(self, container: Container, path: Path, stop: threading.Event) -> None:
        with path.open("xb", buffering=0) as file:
            sink = archive.Sink(file.fileno(), self._settings.max_bytes, stop)
            self._on.snapshots.write_difference(container.id, sink)

    async def _write(self, parts: archive.Parts, new: NewFile) -> archive.Sink:
        def work(stop: threading.Event) -> archive.Sink:
            sink = archive.Sink(new.fd, self._settings.max_bytes, stop)
            archive.write_archive(parts, sink)
            new.sync()
            return sink

        return await in_stoppable_thread(work)


class _Work:
    """What one checkpoint has: a directory of its own, and the containers that it freezes."""

    def __init__(self, directory: Path, freezer: Freezer) -> None:
        self.directory, self.freezer = directory, freezer


class _NewFiles:
    """Several new files that get their names together, in order."""

    def __init__(self, directory: int, names: Sequence[str]) -> None:
        self._stack = ExitStack()
        with self._stack:
            self.files = [self._stack.enter_context(NewFile(directory, name, spare=_spare(name))) for name in names]
            self._stack = self._stack.pop_all()

    def publish(self) -> None:
        for file in self.files:
            file.publish()

    def __enter__(self) -> _NewFiles:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()


def _spare(name: str) -> str:
    """What a crash may leave of a pod's archive, in a directory where nothing else is."""
    return f".{name}.tmp"


def _write_synced(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.fsync(fd)


def require_checkpointable(container: Container) -> None:
    """Raises FailedPrecondition unless it runs, Unimplemented in a user namespace, which runtimes can't restore."""
    if not container.running:
        raise FailedPrecondition(f"container {container.id[:13]} does not run: only a running one can be checkpointed")
    if pod_id_maps(container.config.linux.security_context.namespace_options) is not None:
        raise Unimplemented(f"container {container.id[:13]} is in a user namespace: it can't be checkpointed")


def require_all_running(chosen: Sequence[Container], all_of_pod: Sequence[Container]) -> None:
    """A part of a pod is no pod: what is not dumped would have run on in between. Raises InvalidArgument."""
    left_out = [c.config.metadata.name for c in all_of_pod if c.running and c not in chosen]
    if left_out:
        raise InvalidArgument(
            f"must be exactly the running containers of the pod; missing: {', '.join(sorted(left_out))}",
            field="container_ids",
        )


async def require_offered(on: Collaborators, handler: str) -> None:
    """Raises Unimplemented with the reason and the remedy."""
    if problem := await on.handlers.runtime(handler).checkpoint_problem():
        raise Unimplemented(f"nothing can be checkpointed or restored here: {problem}")
