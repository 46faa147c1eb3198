"""Plugins that come with the node: programs in a directory, started with the daemon and ended with it.

Each gets one end of a socket pair as a descriptor and its own name, and nothing else of our environment. Such a
program runs as root before any pod does, so a file or directory that others may write is not run.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podwright.base.errors import PermissionDenied, PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, gather_all
from podwright.linux.process import Process, spawn
from podwright.nri.hub import Hub
from podwright.nri.plugin import check_identity
from podwright.nri.settings import Settings

log = get_logger(__name__)

STOP_TIMEOUT_S = 5.0
CONFIG_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Installed:
    """A plugin's program, and its configuration."""

    path: Path
    index: str
    name: str
    config: str


class Launcher:
    """`start` and `stop` bracket the life of all plugins of the directory."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._settings, self._hub = settings, hub
        self._tasks = Tasks("nri plugin")

    async def start(self) -> None:
        """Start them, and wait until each has joined or was given up. What can't be started is a warning."""
        try:
            found = list(discover(self._settings.plugin_dir, self._settings.plugin_config_dir))
        except (OSError, PodwrightError) as error:
            log.warning("no NRI plugin is started", directory=str(self._settings.plugin_dir), error=str(error))
            return
        await gather_all(*(self._launch(plugin) for plugin in found), name="start plugins")

    async def _launch(self, plugin: Installed) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        joined = asyncio.Event()
        try:
            environment = {
                "NRI_PLUGIN_NAME": plugin.name, "NRI_PLUGIN_IDX": plugin.index,
                "NRI_PLUGIN_SOCKET": str(theirs.fileno()),
            }  # fmt: skip
            process = spawn([plugin.path], env=environment, pass_fds=[theirs.fileno()])
        except (OSError, PodwrightError) as error:
            log.warning("an NRI plugin can't be started", plugin=plugin.path.name, error=str(error))
            ours.close()
            return
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        self._tasks.start(self._serve(plugin, process, reader, writer, joined), name=plugin.path.name)
        await joined.wait()

    async def _serve(
        self, plugin: Installed, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        joined: asyncio.Event,
    ) -> None:  # fmt: skip
        """A program whose connection has ended has nothing left to do here."""
        try:
            await self._hub.serve(
                reader, writer, identity=(plugin.index, plugin.name), config=plugin.config, when_settled=joined.set
            )
        finally:
            joined.set()
            await process.kill()

    async def stop(self) -> None:
        """Wait until they are gone: the hub has ended their connections, and with its connection ends a program."""
        await self._tasks.drain(STOP_TIMEOUT_S)
        await self._tasks.close()


def discover(directory: Path, config_directory: Path) -> Iterator[Installed]:
    """The plugins of a directory, in their order. Raises PermissionDenied for a directory that isn't root's alone."""
    if not directory.is_dir():
        return
    check_trusted(directory)
    for path in sorted(directory.iterdir()):
        if not path.is_file() or not os.access(path, os.X_OK):
            continue
        index, _, name = path.name.partition("-")
        try:
            check_identity(index, name)
            check_trusted(path)
            yield Installed(path, index, name, _config(config_directory, path.name, name))
        except (OSError, PodwrightError) as error:
            log.warning("an NRI plugin is not started", plugin=path.name, error=str(error))


def check_trusted(path: Path) -> None:
    """Raises PermissionDenied for what somebody else could have written."""
    info = path.stat()
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionDenied(f"{path} must belong to root and be writable by root alone")


def _config(directory: Path, full_name: str, name: str) -> str:
    for candidate in (directory / f"{full_name}.conf", directory / f"{name}.conf"):
        if candidate.is_file():
            check_trusted(candidate)
            with candidate.open("rb") as file:
                return file.read(CONFIG_LIMIT_BYTES).decode()
    return ""
