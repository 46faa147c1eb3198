"""The daemon's life: settings → composition → recover → serve → run until a signal."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from podwright.base import log as logging
from podwright.base.errors import PodwrightError
from podwright.base.locks import DirectoryLock
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.composition.base import Assembly
from podwright.composition.surfaces import Surfaces
from podwright.config.schema import Config
from podwright.linux.orphans import Orphans
from podwright.linux.systemd_notify import notify
from podwright.state.layout import Layout
from podwright.state.owner import require_owner
from podwright.state.store import Store
from podwright.telemetry.metrics import Metrics

log = get_logger(__name__)


class Daemon:
    """One daemon on one root. `start` and `stop` bracket its life; containers outlive it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._serving = False
        self.layout = Layout(config.state.root, config.state.run)
        self.layout.create()
        self._lock = DirectoryLock(self.layout.lock)
        self._tasks = Tasks("daemon")
        self._metrics = Metrics()
        self._stop_metrics: Callable[[], None] | None = None
        self._store = Store(self.layout.database)
        self._assembly = self._assemble()
        require_owner(self._store, config.backend, len(self._assembly.sandboxes))
        self._surfaces = Surfaces(config, self.layout, self._assembly, self._metrics, lambda: self._serving)
        self._add_metrics()

    def _assemble(self) -> Assembly:
        """Each backend's modules are loaded only for it."""
        parts = (self._config, self.layout, self._store, self._tasks)
        if self._config.backend == "docker":
            from podwright.composition.docker import DockerAssembly

            return DockerAssembly(*parts)
        from podwright.composition.native import NativeAssembly

        return NativeAssembly(*parts)

    def _add_metrics(self) -> None:
        sandboxes, containers = self._assembly.sandboxes, self._assembly.containers
        self._metrics.gauge("sandboxes", "Pods in the store.", lambda: float(len(sandboxes)))
        self._metrics.gauge("containers", "Containers in the store.", lambda: float(len(containers)))
        self._metrics.gauge("background_tasks", "Tasks of the daemon.", lambda: float(len(self._tasks)))
        self._assembly.add_metrics(self._metrics)

    async def start(self) -> None:
        """Recover, then serve: when the socket answers, every status is right."""
        await self._assembly.recover()
        self._metrics.quarantined.set(self._store.quarantined())
        if self._config.telemetry.metrics_address:
            self._stop_metrics = self._metrics.serve(self._config.telemetry.metrics_address)
        await self._surfaces.start_streaming()
        await self._assembly.start()
        self._serving = True
        await self._surfaces.start()
        log.info("serving", socket=str(self._config.server.socket), runtime=self._assembly.explain())
        notify("READY=1")

    async def stop(self) -> None:
        """Stop serving. Containers and their monitors run on."""
        notify("STOPPING=1")
        await self._surfaces.stop()
        self._serving = False
        await self._surfaces.stop_streaming()
        if self._stop_metrics is not None:
            self._stop_metrics()
        await self._assembly.stop_accepting()
        await self._tasks.close()
        await self._assembly.close()
        self._store.close()
        self._lock.release()


def serve(config: Config) -> int:
    """Run a daemon until SIGTERM or SIGINT. Gives the exit status."""
    logging.configure(config.telemetry.log_level, as_json=config.telemetry.log_format == "json")
    try:
        return asyncio.run(_serve(config))
    except PodwrightError as error:
        log.error("can't start", error=str(error))
        return 1


async def _serve(config: Config) -> int:
    daemon = Daemon(config)
    orphans = Orphans()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    await daemon.start()
    await asked_to_stop.wait()
    log.info("stopping; containers run on", host=socket.gethostname())
    await daemon.stop()
    orphans.close()
    return 0
