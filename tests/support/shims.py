"""containerd-shim-runc-v2 in the place of conmon and the command line of runc."""

from __future__ import annotations

from pathlib import Path

from podwright.monitor.base import Settings as MonitorSettings
from podwright.runtime.handlers import HandlerSettings
from podwright.shim.drivers import ShimDrivers
from tests.support.containers import Bench

SHIM = "io.containerd.runc.v2"


class ShimBench(Bench):
    """A bench whose containers are in shims, those of one sandbox id in one."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        super().__init__(directory, rootfs, "runc")
        self.settings = MonitorSettings()
        self._take()

    def _take(self) -> None:
        self.driver = ShimDrivers(self.directory / "shim", self.settings, timeout_s=30)
        self.monitor = self.driver.monitor
        self.runtime = self.driver.runtime("shim", HandlerSettings(path=SHIM))

    async def start(self) -> None:
        await self.driver.start()

    async def restart(self) -> None:
        """The daemon ends, and another begins."""
        await self.driver.close()
        self._take()
        await self.start()

    async def close(self) -> None:
        await super().close()
        await self.driver.close()
        assert not list((self.directory / "shim/places").iterdir())
        assert not list((self.directory / "shim/exec").iterdir())
