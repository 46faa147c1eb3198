"""What a daemon has of shims: a socket for their events, a connection to each, a monitor, and a runtime a handler."""

from __future__ import annotations

from pathlib import Path

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux.process import find_program
from podwright.monitor.base import Settings as MonitorSettings
from podwright.runtime import hybrid
from podwright.runtime.handlers import HandlerSettings
from podwright.runtime.shim_names import calls_oci_runtime, type_of
from podwright.shim import shim_pb2 as pb
from podwright.shim.events import Events
from podwright.shim.exec import end_leftovers
from podwright.shim.monitor import ShimMonitor
from podwright.shim.names import Options, pack_options
from podwright.shim.program import Programs, ShimCommand, find_shim
from podwright.shim.runtime import ShimRuntime
from podwright.shim.shims import Shims


class ShimDrivers:
    """`start` and `close` bracket its life; shims outlive it. Implements `runtime.handlers.ShimDriver`.

    `directory` is below the run directory. `systemd_cgroups`: cgroups paths are systemd's, and runc is told so.
    """

    def __init__(
        self, directory: Path, settings: MonitorSettings, *, timeout_s: float, systemd_cgroups: bool = False
    ) -> None:  # fmt: skip
        self._directory, self._timeout_s, self._systemd_cgroups = directory, timeout_s, systemd_cgroups
        self._scratch, places = directory / "exec", directory / "places"
        for path in (directory, self._scratch, places, directory / "roots"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.events = Events(directory / "events.sock")
        self.shims = Shims(places, Programs(self.events.path, timeout_s=timeout_s), timeout_s=timeout_s)
        self.monitor = ShimMonitor(self.shims, self.events, settings)

    async def start(self) -> None:
        """Before anything is recovered: shims have events for us."""
        await self.events.start()

    def runtime(self, handler: str, settings: HandlerSettings) -> ShimRuntime:
        """Raises FailedPrecondition when a program is missing, InvalidArgument for settings that no shim has."""
        field = f"runtime.handlers.{handler}"
        if settings.options:
            raise InvalidArgument("are for command lines, which a shim has none of", field=f"{field}.options")
        try:
            path = find_shim(settings.path or handler)
        except FailedPrecondition as error:
            raise FailedPrecondition(f"runtime handler {handler!r}: {error}; install it or set {field}.path") from None
        oci = self._oci_runtime(field, settings) if calls_oci_runtime(str(path)) else None
        options = self._options(handler, settings, path, oci)
        command = ShimCommand(path, options=pack_options(options) if options is not None else b"")
        return ShimRuntime(
            self.shims, self.events, command, self._scratch, oci=oci, timeout_s=self._timeout_s
        )  # fmt: skip

    def _oci_runtime(self, field: str, settings: HandlerSettings) -> Path:
        program = find_program(settings.shim_runtime)
        if program is None:
            raise FailedPrecondition(
                f"{settings.shim_runtime!r}, the OCI runtime that the shim is to call, is not installed; install it or "
                f"set {field}.shim_runtime"
            )
        if program.name == "crun" and hybrid.needed():
            raise FailedPrecondition(
                f"crun refuses this machine's hybrid cgroups, when a shim calls it: set {field}.shim_runtime to runc, "
                "or use a handler of type oci"
            )
        return program

    def _options(self, handler: str, settings: HandlerSettings, path: Path, oci: Path | None) -> Options | None:
        if oci is not None:
            root = settings.root or self._directory / "roots" / handler
            return pb.RuncOptions(binary_name=str(oci), root=str(root), systemd_cgroup=self._systemd_cgroups)
        if settings.shim_config:
            return pb.GenericOptions(type_url=f"{type_of(path.name)}.options", config_path=settings.shim_config)
        return None

    async def end_leftovers(self) -> None:
        """Kill what an earlier daemon was executing in containers when it died."""
        await end_leftovers(self._scratch, self.shims)

    async def close(self) -> None:
        self.monitor.close()
        await self.shims.close()
        await self.events.close()
