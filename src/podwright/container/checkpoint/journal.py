"""Checkpoints that are under way, in the store: what a crash leaves of them is undone by the next start."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec

from podwright.base.errors import PodwrightError
from podwright.base.files import remove_tree
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.container.checkpoint.freeze import thaw
from podwright.container.collaborators import Collaborators
from podwright.linux import pidfd
from podwright.state.boot import boot_id
from podwright.state.store import Table

log = get_logger(__name__)


class CheckpointRecord(msgspec.Struct, frozen=True):
    """`containers` may be frozen; `files` may exist in the directory `output`, '' where they are whole or not there."""

    id: str
    containers: tuple[str, ...]
    output: str = ""
    files: tuple[str, ...] = ()


async def undo_unfinished(on: Collaborators, journal: Table[CheckpointRecord]) -> None:
    """After a start: end what still dumps, thaw, remove partial files. A failure is tried again at the next start."""
    for record in list(journal.values()):
        log.info("an unfinished checkpoint is undone", containers=record.containers)
        try:
            await _undo(on, record)
        except (PodwrightError, OSError) as error:
            log.error("an unfinished checkpoint can't be undone", error=repr(error))
        else:
            journal.delete(record.id)
    await _sweep(on.layout.checkpoints, set(journal.keys()))
    await _sweep(on.layout.restores, {container.id for container in on.containers if container.awaits_restore})


async def _sweep(directory: Path, kept: set[str]) -> None:
    if directory.exists():
        for path in directory.iterdir():
            if path.name not in kept:
                await in_thread(remove_tree, path)


async def _undo(on: Collaborators, record: CheckpointRecord) -> None:
    await _end_dumps(on.layout.checkpoint(record.id))
    for container_id in record.containers:
        container = on.containers.find_or_none(container_id)
        if container is not None and container.record.boot == boot_id():
            await thaw(on, container)
    remove_files(record)


async def _end_dumps(work: Path) -> None:
    """Kill the runtimes that still write there, with their CRIU; its code in the containers' processes ends itself when
    nobody talks to it any more."""
    for name in os.listdir("/proc"):
        if name.isdigit() and os.fsencode(work) in _command_line(int(name)):
            process = pidfd.identify(int(name))
            if process is None:
                continue
            try:
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
            await pidfd.wait_end(process)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def remove_files(record: CheckpointRecord) -> None:
    """Those of a checkpoint in a directory that was empty before it."""
    if not record.output:
        return
    try:
        fd = os.open(record.output, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in record.files:
            try:
                os.unlink(name, dir_fd=fd)
            except FileNotFoundError:
                continue
    finally:
        os.close(fd)
