"""NRI as a whole, without pods: what is there when it is on, off, or can't be."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from podwright.nri.base import Event, NoPlugins
from podwright.nri.service import PluginService
from podwright.nri.settings import Settings


def unasked() -> NoReturn:
    raise AssertionError("nobody is connected, so nothing is to be asked")


@asynccontextmanager
async def running(tmp_path: Path, **settings: object) -> AsyncIterator[PluginService]:
    config = Settings(socket=tmp_path / "nri" / "nri.sock", plugin_dir=tmp_path / "none", **settings)  # type: ignore[arg-type]
    service = PluginService(config, version="0", node=unasked, host=unasked)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def test_without_plugins_nothing_is_asked_and_nothing_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        path = tmp_path / "nri" / "nri.sock"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        async with service.plugins.section():
            await service.plugins.before(Event.RUN_POD_SANDBOX, "pod")
        await service.plugins.after(Event.STOP_CONTAINER, "container")
        assert (len(service), service.plugins.active) == (0, False)
    assert not path.exists()


async def test_off_means_no_socket_and_no_hooks(tmp_path: Path) -> None:
    async with running(tmp_path, enabled=False) as service:
        assert isinstance(service.plugins, NoPlugins)
        assert not (tmp_path / "nri").exists()


async def test_no_connections_means_no_socket(tmp_path: Path) -> None:
    async with running(tmp_path, connections=False):
        assert not (tmp_path / "nri").exists()


async def test_a_socket_that_cannot_be_made_is_no_reason_not_to_serve(tmp_path: Path) -> None:
    (tmp_path / "nri").write_text("in the way")
    async with running(tmp_path) as service:
        assert len(service) == 0


@pytest.mark.root
async def test_another_user_is_turned_away(tmp_path: Path) -> None:
    async with running(tmp_path):
        path = tmp_path / "nri" / "nri.sock"
        path.parent.chmod(0o711)
        path.chmod(0o666)
        directory = os.open(path.parent, os.O_PATH)  # so that the directories above need not be opened to others
        with socket.socket(socket.AF_UNIX) as guest:
            os.seteuid(65534)
            try:
                guest.connect(f"/proc/self/fd/{directory}/nri.sock")
            finally:
                os.seteuid(0)
                os.close(directory)
            guest.setblocking(False)
            assert await _read(guest) == b""


async def _read(guest: socket.socket) -> bytes:
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(guest, 10), 20)
    except ConnectionResetError:
        return b""
