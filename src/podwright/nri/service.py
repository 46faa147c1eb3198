"""NRI as a whole, as the daemon starts and stops it."""

from __future__ import annotations

from collections.abc import Callable

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.nri.base import Node, NoPlugins, Plugins
from podwright.nri.hub import Host, Hub
from podwright.nri.launch import Launcher
from podwright.nri.listener import Listener
from podwright.nri.settings import Settings

log = get_logger(__name__)


class PluginService:
    """`plugins` is what the verbs call; it does nothing before `start`, and when NRI is off."""

    def __init__(self, settings: Settings, *, version: str, node: Callable[[], Node], host: Callable[[], Host]) -> None:
        self._settings = settings
        self._hub = Hub(settings, version=version, node=node, host=host) if settings.enabled else None
        self.plugins: Plugins = NoPlugins() if self._hub is None else self._hub
        self._launcher: Launcher | None = None
        self._listener: Listener | None = None

    def __len__(self) -> int:
        """How many plugins are connected."""
        return len(self._hub) if self._hub is not None else 0

    async def start(self) -> None:
        """Start the installed plugins, then let others connect. A socket that can't be made is a warning: pods don't
        depend on it, unless `required_plugins` says so."""
        if self._hub is None:
            return
        self._launcher = Launcher(self._settings, self._hub)
        await self._launcher.start()
        if not self._settings.connections:
            return
        listener = Listener(self._settings, self._hub)
        try:
            await listener.start()
        except (OSError, PodwrightError) as error:
            log.warning("NRI plugins can't connect", socket=str(self._settings.socket), error=str(error))
            return
        self._listener = listener

    async def stop(self) -> None:
        """Plugins say goodbye; those that were started here are ended."""
        if self._hub is not None:
            await self._hub.close()
        if self._listener is not None:
            await self._listener.stop()
        if self._launcher is not None:
            await self._launcher.stop()
