"""A shim as the monitor: the parent of its containers, who knows how they ended and hands us their output.

Implements `monitor.base.Monitor`. One shim serves all containers of a pod; when it dies they are killed, since nobody
would reap them, keep their output flowing or tell how they ended.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from pathlib import Path

from google.protobuf.any_pb2 import Any

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, Internal, NotFound, PodwrightError
from podwright.base.log import get_logger
from podwright.base.streams import ProcessStreams
from podwright.base.tasks import shielded
from podwright.linux import pidfd
from podwright.monitor.attach import Client, converse
from podwright.monitor.base import LOST_EXIT_CODE, Exit, Launch, Monitored, Settings
from podwright.runtime.base import RuntimeFailed
from podwright.shim import shim_pb2 as pb
from podwright.shim.events import Events
from podwright.shim.input import Input, await_reader, open_read
from podwright.shim.output import STDERR, STDOUT, LogFile, Output
from podwright.shim.program import ShimCommand, was_started_in
from podwright.shim.shims import Shims
from podwright.shim.take_down import take_down
from podwright.shim.task import Streams
from podwright.ttrpc.errors import ConnectionLost
from podwright.wire.ttrpc import ProtocolError

log = get_logger(__name__)

_STDIN, _NAMES = "stdin", {STDOUT: "stdout", STDERR: "stderr"}
# The shim waits two seconds for children that hold the output when the container has ended.
_DRAIN_S = 3.0
_SHIM_END_S = 1.0


class ShimMonitor:
    """The shims of all handlers. What it creates are containers whose `Launch.command` is a ShimCommand."""

    def __init__(self, shims: Shims, events: Events, settings: Settings) -> None:
        self._shims, self._events, self._settings = shims, events, settings
        self._outputs: dict[str, Output] = {}
        self._exits: dict[str, Exit] = {}
        # Created here, and its input not written to yet: the shim may still be about to open it.
        self._input_awaited: set[str] = set()

    def has(self, container_id: str, bundle: Path) -> bool:
        """Whether a container is, or was, in a shim."""
        return self._shims.place(container_id) is not None or was_started_in(bundle)

    async def create(self, launch: Launch) -> Monitored:
        assert isinstance(launch.command, ShimCommand)
        self._events.require()
        try:
            async with asyncio.timeout(self._settings.create_timeout_s):
                return await self._create_somewhere(launch, launch.command)
        except BaseException as error:
            await shielded(self._undo(launch.container_id), name="undo create in shim")
            if isinstance(error, ConnectionLost):
                words = f"the shim died: {error}"
                raise RuntimeFailed("create", launch.container_id, words, program="shim") from error
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    f"the shim did not create container {launch.container_id[:13]} within "
                    f"{self._settings.create_timeout_s:g} s"
                ) from None
            raise

    async def _create_somewhere(self, launch: Launch, command: ShimCommand) -> Monitored:
        try:
            return await self._create(launch, command)
        except ConnectionLost:
            # The pod's shim has ended with its last container, between its program's answer and our call.
            await self._shims.clean_up(launch.container_id)
            self.forget(launch.container_id)
            return await self._create(launch, command)

    async def _create(self, launch: Launch, command: ShimCommand) -> Monitored:
        container_id = launch.container_id
        fifos, log_file = _make_fifos(launch), self._log_file(launch.log_path)
        log_file.reopen()
        self._outputs[container_id] = Output(fifos, log_file)
        task = await self._shims.start(command, container_id, launch.bundle)
        streams = Streams(
            stdin=str(launch.bundle / _STDIN) if launch.stdin else "", stdout=str(fifos[STDOUT]),
            stderr=str(fifos.get(STDERR, "")), terminal=launch.terminal,
        )  # fmt: skip
        options = Any.FromString(command.options) if command.options else None
        pid = await task.create(str(launch.bundle), streams, options, checkpoint=str(launch.restore_from or ""))
        if launch.restore_from is not None:  # it has its process from its start on
            pid = await task.start()
        if launch.stdin:
            self._input_awaited.add(container_id)
        process, shim = pidfd.identify(pid), pidfd.identify(await task.shim_pid())
        if process is None or shim is None:
            raise Internal(f"container {launch.container_id[:13]} or its shim ended at once")
        return Monitored(launch.container_id, process, shim, str(launch.bundle), str(launch.log_path or ""))

    async def _undo(self, container_id: str) -> None:
        try:
            await take_down(self._shims, container_id)
        except PodwrightError as error:
            log.warning("a container that was not created can't be removed", error=str(error))
        self.forget(container_id)

    async def wait_exit(self, monitored: Monitored) -> Exit:
        container_id = monitored.container_id
        output = self._output(monitored)
        if container_id not in self._exits:
            ended = await self._wait(monitored)
            try:
                async with asyncio.timeout(_DRAIN_S):
                    await output.ended()
            except TimeoutError:  # and is read until the shim lets go of it, when it deletes the container
                log.info("a container's output is held by what it left behind", container=container_id[:13])
            self._exits[container_id] = ended
        return self._exits[container_id]

    async def _wait(self, monitored: Monitored) -> Exit:
        container_id = monitored.container_id
        while True:
            try:
                ended = await (await self._shims.task(container_id)).wait()
            except (NotFound, FailedPrecondition):
                return _lost()
            except ConnectionLost:
                if not await _ends(monitored.monitor):
                    continue
                log.warning("a shim has died, so its container is killed", container=container_id[:13])
                await shielded(self._clean_up(container_id), name="clean up after shim")
                return _lost()
            except (RuntimeFailed, ProtocolError) as error:
                log.error("a shim does not tell of its container's end, so the process is watched", error=str(error))
                await pidfd.wait_end(monitored.process)
                return _lost()
            oom = self._events.out_of_memory(container_id)
            return Exit(ended.exit_code, ended.finished_at_ns, oom_hint=oom)

    async def _clean_up(self, container_id: str) -> None:
        """The runtime's delete, which follows, tries again."""
        try:
            await self._shims.clean_up(container_id)
        except PodwrightError as error:
            log.error("what a dead shim left can't be removed", container=container_id[:13], error=str(error))

    async def exit_now(self, monitored: Monitored) -> Exit | None:
        """Opens the container's output first: were nobody to read it when the container ends, it would be lost."""
        self._output(monitored)
        if not pidfd.is_alive(monitored.monitor):
            return await self.wait_exit(monitored)
        try:
            state = await (await self._shims.task(monitored.container_id)).state()
        except (NotFound, FailedPrecondition, ConnectionLost):
            return await self.wait_exit(monitored)
        except (RuntimeFailed, DeadlineExceeded) as error:
            log.error("a shim does not say whether its container lives", error=str(error))
            return None
        return await self.wait_exit(monitored) if state.status == pb.STOPPED else None

    def forget(self, container_id: str) -> None:
        self._exits.pop(container_id, None)
        self._input_awaited.discard(container_id)
        self._events.forget(container_id)
        output = self._outputs.pop(container_id, None)
        if output is not None:
            output.close()

    async def abandon(self, container_id: str, bundle: Path) -> None:
        await take_down(self._shims, container_id)
        self.forget(container_id)

    async def reopen_log(self, monitored: Monitored) -> None:
        self._output(monitored).reopen()

    async def resize(self, monitored: Monitored, *, width: int, height: int) -> None:
        try:
            await (await self._shims.task(monitored.container_id)).resize(width=width, height=height)
        except (ConnectionLost, NotFound) as error:
            raise FailedPrecondition(f"the container's shim is gone: {error}") from error

    async def attach(self, monitored: Monitored, streams: ProcessStreams, *, stdin: bool, stdin_once: bool) -> None:
        output = self._output(monitored)
        client = Client(streams, self._settings.attach_lag_max_bytes)
        target: Input | None = None
        output.join(client)
        try:
            target = await self._input(monitored) if stdin else None
            resize = partial(self._resize, monitored)
            await converse(client, streams, target, once=stdin_once, resize=resize)
        finally:
            output.leave(client)
            if target is not None:
                target.close()

    async def _input(self, monitored: Monitored) -> Input:
        container_id, fifo = monitored.container_id, Path(monitored.bundle) / _STDIN

        async def let_go() -> None:
            await (await self._shims.task(container_id)).close_input()

        if container_id not in self._input_awaited:
            return Input(open_read(fifo), let_go)
        target = Input(await await_reader(fifo), let_go)
        self._input_awaited.discard(container_id)
        return target

    async def _resize(self, monitored: Monitored, width: int, height: int) -> None:
        await self.resize(monitored, width=width, height=height)

    def _output(self, monitored: Monitored) -> Output:
        """Opened again after a restart of the daemon. Raises FailedPrecondition when there is nothing to open."""
        output = self._outputs.get(monitored.container_id)
        if output is None:
            bundle = Path(monitored.bundle)
            fifos = {stream: bundle / name for stream, name in _NAMES.items() if (bundle / name).exists()}
            log_file = self._log_file(Path(monitored.log_path) if monitored.log_path else None)
            try:
                log_file.reopen()
            except PodwrightError as error:  # the container goes on, and waits for nobody
                log.error("a container's log can't be opened", container=monitored.container_id[:13], error=str(error))
            output = self._outputs[monitored.container_id] = Output(fifos, log_file, resumed=True)
        return output

    def _log_file(self, path: Path | None) -> LogFile:
        return LogFile(path, limit_bytes=self._settings.log_size_max_bytes)

    def close(self) -> None:
        """Stop reading; what is not read yet waits in the fifos for the next daemon."""
        for output in self._outputs.values():
            output.close()
        self._outputs.clear()


def _make_fifos(launch: Launch) -> dict[int, Path]:
    """By stream; a terminal has one for both."""
    names = [_NAMES[STDOUT]] if launch.terminal else list(_NAMES.values())
    for name in [*names, *([_STDIN] if launch.stdin else [])]:
        (launch.bundle / name).unlink(missing_ok=True)
        os.mkfifo(launch.bundle / name, 0o600)
    return {stream: launch.bundle / name for stream, name in _NAMES.items() if name in names}


async def _ends(shim: pidfd.ProcessIdentity) -> bool:
    """Whether a shim whose connection is lost is dead, or is in a moment; else it may be asked again."""
    try:
        async with asyncio.timeout(_SHIM_END_S):
            await pidfd.wait_end(shim)
    except TimeoutError:
        return False
    return True


def _lost() -> Exit:
    return Exit(exit_code=LOST_EXIT_CODE, finished_at_ns=time.time_ns(), lost=True)
