"""containerd-shim-runc-v2 in the place of conmon and the command line of runc."""

from __future__ import annotations

from pathlib import Path

from podwright.linux.process import find_program
from podwright.shim import shim_pb2 as pb
from podwright.shim.events import Events
from podwright.shim.monitor import ShimMonitor
from podwright.shim.program import Program, find_shim
from podwright.shim.runtime import ShimRuntime
from podwright.shim.shims import Shims
from tests.support.containers import Bench

SHIM = "io.containerd.runc.v2"


class ShimDriver:
    """What a daemon has of shims; `stop` is the daemon's end, a new driver in the same directory the next daemon."""

    def __init__(self, directory: Path, *, shim: str = SHIM) -> None:
        runc = find_program("runc")
        assert runc is not None
        for name in ("places", "scratch"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        options = pb.RuncOptions(binary_name=str(runc), root=str(directory / "root"))
        self.events = Events(directory / "events.sock")
        program = Program(find_shim(shim), self.events.path, options, timeout_s=30)
        self.shims = Shims(directory / "places", program, timeout_s=30)
        self.monitor = ShimMonitor(self.shims, self.events, attach_lag_bytes=1024 * 1024)
        self.runtime = ShimRuntime(self.shims, directory / "scratch")

    async def stop(self) -> None:
        self.monitor.close()
        await self.shims.close()
        await self.events.close()


class ShimBench(Bench):
    """A bench whose containers are in shims, those of one sandbox id in one."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        super().__init__(directory, rootfs, "runc")
        self._take(ShimDriver(directory / "shim"))

    def _take(self, driver: ShimDriver) -> None:
        self.driver = driver
        self.monitor = driver.monitor
        self.runtime = driver.runtime

    async def start(self) -> None:
        await self.driver.events.start()

    async def restart(self) -> None:
        """The daemon ends, and another begins."""
        await self.driver.stop()
        self._take(ShimDriver(self.directory / "shim"))
        await self.start()

    async def close(self) -> None:
        await super().close()
        await self.driver.stop()
        assert not list((self.directory / "shim/places").iterdir())
        assert not list((self.directory / "shim/scratch").iterdir())
