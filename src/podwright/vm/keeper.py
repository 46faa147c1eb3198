"""The process that keeps a virtual machine: it has QEMU as its child, the agent's connection, and the control socket.

It is the process of the machine's first container, too, as a carrier is of each further one: it gets that container's
signals, and ends with its exit code when the container does, the machine with it. `control.py` has what it is asked.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import FailedPrecondition, Internal, PodwrightError, Unavailable
from podwright.base.files import write_plain
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, first_error, shielded
from podwright.linux.process import readable
from podwright.vm import carrier
from podwright.vm.attached import Attached, End
from podwright.vm.connections import Connection, Descriptors
from podwright.vm.control import Message, failure_of, listen
from podwright.vm.machine import Machine, Plan

log = get_logger(__name__)

_PASSED_ON = frozenset({"start", "signal", "pause", "resume", "update", "stats", "processes", "ping"})
_SETTLE_ROUNDS, _SETTLE_S = 100, 0.02
END_FILE = "end.json"
CONTROL = "control"


@dataclass(frozen=True)
class First:
    """The machine's first container. `trees`: what is to be in the share, by name; `descriptors` as in `Attached`."""

    id: str
    document: Message
    trees: dict[str, int]
    descriptors: list[int]
    terminal: bool


class Keeper:
    """`directories`: where the records of containers are, each by its id."""

    def __init__(self, plan: Plan, directories: Path) -> None:
        self._tasks = Tasks("keeper")
        self._machine = Machine(plan, self._tasks)
        self._directories = directories
        self._control = plan.directory / CONTROL
        self._attached: dict[tuple[str, str], Attached] = {}
        self._early: dict[tuple[str, str], End] = {}
        self._lost = ""

    async def keep(self, first: First, ready: Callable[[bytes], None]) -> int:
        """The first container's whole life; its exit code. What is raised before `ready` has been called is a failed
        creation."""
        try:
            await self._machine.boot(self._notice)
            self._tasks.start(self._watch(), name="machine")
            for name, tree in first.trees.items():
                self._machine.share.attach(first.id, name, tree)
                os.close(tree)
            attached = await self._create(first.id, first.document, first.descriptors, terminal=first.terminal)
            listener = listen(self._control)
            self._tasks.start(self._accept(listener), name="control")
            self._forward_signals(attached, first)
            ready(b"")
            end = await attached.end()
            self._tell(first.id, end)
            return end.code
        finally:
            await shielded(self._machine.shutdown(), name="shutdown")
            await self._settle(first.id)
            await self._tasks.close()

    async def _settle(self, first: str) -> None:
        """Let those who stand for other processes hear of the end."""
        for _ in range(_SETTLE_ROUNDS):
            if self._attached.keys() <= {(first, "")}:
                return
            await asyncio.sleep(_SETTLE_S)

    def _notice(self, message: Message) -> None:
        """The agent says something."""
        if message.get("notice") == "exit":
            key = (str(message.get("id")), str(message.get("exec", "")))
            end = End(int(message.get("code", 255)), oom=bool(message.get("oom")))
            if (attached := self._attached.get(key)) is not None:
                attached.ended(end)
            else:
                self._early[key] = end  # its answer comes later
        elif message.get("notice") == "log":
            log.warning("the guest's agent complains", words=str(message.get("message"))[:1000])

    async def _watch(self) -> None:
        """The machine's end is that of all that is in it."""
        self._lost = await self._machine.ended()
        for attached in list(self._attached.values()):
            attached.ended(End(128 + signal.SIGKILL, lost=self._lost))
            attached.abandon()

    async def _create(self, container: str, document: Message, descriptors: list[int], *, terminal: bool) -> Attached:
        attached = Attached(self._machine.agent, container, "", descriptors, terminal=terminal)
        return await self._begin(attached, attached.request("create", streams=attached.streams, **document))

    async def _execute(self, message: Message, document: Message, descriptors: list[int]) -> Attached:
        terminal = bool(document["process"].get("terminal"))
        attached = Attached(
            self._machine.agent, message["id"], message["exec"], descriptors, terminal=terminal
        )  # fmt: skip
        return await self._begin(attached, attached.request("exec", streams=attached.streams, **document))

    async def _begin(self, attached: Attached, request: Message) -> Attached:
        self._attached[attached.key] = attached
        try:
            await self._machine.agent.request(request)
        except BaseException:
            self._attached.pop(attached.key, None)
            attached.abandon()
            raise
        finally:
            attached.begun()
        if (end := self._early.pop(attached.key, None)) is not None:
            attached.ended(end)
        return attached

    def _forward_signals(self, attached: Attached, first: First) -> None:
        """What this process gets is for the container."""
        loop = asyncio.get_running_loop()
        for number in carrier.forwarded():
            try:
                loop.add_signal_handler(number, self._forward, attached, number, first)
            except (ValueError, RuntimeError):
                continue
        if first.terminal:
            self._forward(attached, signal.SIGWINCH, first)

    def _forward(self, attached: Attached, number: int, first: First) -> None:
        request = attached.request("signal", signal=number)
        if number == signal.SIGWINCH and first.terminal:
            request = attached.request("resize", **carrier.terminal_size(0))
        self._tasks.start(self._quietly(request), name="forward")

    async def _quietly(self, request: Message) -> None:
        try:
            await self._machine.agent.request(request)
        except PodwrightError as error:
            log.debug("nobody took it", verb=request["verb"], because=str(error))

    async def _accept(self, listener: Any) -> None:
        try:
            while True:
                await readable(listener.fileno())
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    continue
                self._tasks.start(self._serve(Connection(accepted)), name="connection")
        finally:
            listener.close()

    async def _serve(self, connection: Connection) -> None:
        shared: set[str] = set()
        try:
            while (received := await connection.receive()) is not None:
                message, descriptors = received
                try:
                    attached = await self._answer(connection, message, descriptors, shared)
                except PodwrightError as error:
                    connection.send({"failure": failure_of(error)})
                except (KeyError, IndexError, TypeError, OSError) as error:
                    connection.send({"failure": failure_of(Internal(repr(error)))})
                else:
                    if attached is not None:
                        shared.discard(attached.container)
                        await self._carry(connection, attached)
                        return
                finally:
                    descriptors.close()
        finally:
            for container in shared:
                self._machine.share.detach(container)
            connection.close()

    async def _answer(
        self, connection: Connection, message: Message, descriptors: Descriptors, shared: set[str]
    ) -> Attached | None:
        """Do what is asked and answer; a process that has begun with it."""
        if self._lost:
            raise Unavailable(self._lost)
        verb, attached, answer = message["verb"], None, {}
        if verb == "share":
            shared.add(message["id"])
            tree = descriptors.take()
            try:
                self._machine.share.attach(message["id"], message["name"], tree)
            finally:
                os.close(tree)
        elif verb in ("create", "exec"):
            document = _document(descriptors.take())
            theirs = [descriptors.take() for _ in range(message["streams"])]
            if verb == "create":
                attached = await self._create(message["id"], document, theirs, terminal=message["terminal"])
            else:
                attached = await self._execute(message, document, theirs)
        elif verb == "forget":
            await self._end_container(message["id"])
        elif verb == "shutdown":
            self._tasks.start(self._quietly({"verb": "shutdown"}), name="shutdown")
        elif verb in _PASSED_ON:
            answer = await self._machine.agent.request(message)
        else:
            raise FailedPrecondition(f"the keeper knows no {verb!r}")
        connection.send({"answer": answer})
        return attached

    async def _carry(self, connection: Connection, attached: Attached) -> None:
        """Until the process ends, or whoever stands for it on the host, and the process with him."""
        asked = self._tasks.start(self._obey(connection, attached), name="carrier")
        ended = self._tasks.start(attached.end(), name="end")
        await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await self._kill(attached)
        end = await ended
        asked.cancel()
        if not attached.execution:
            await self._forget(attached.container)
        self._attached.pop(attached.key, None)
        self._tell(attached.container, end, first=not attached.execution)
        connection.send({"lost": end.lost} if end.lost else {"exit": end.code})

    async def _obey(self, connection: Connection, attached: Attached) -> None:
        while (received := await connection.receive()) is not None:
            message, descriptors = received
            descriptors.close()
            verb = message.pop("verb")
            await self._quietly(attached.request(verb, **message))

    async def _kill(self, attached: Attached) -> None:
        """An exec by a signal; a container with all that is in it. Its notice ends the waiting."""
        if attached.execution:
            await self._quietly(attached.request("signal", signal=int(signal.SIGKILL), all=True))
        else:
            await self._quietly(attached.request("delete"))

    async def _end_container(self, container: str) -> None:
        """Kill a container, and wait until nothing is left of it here."""
        if (attached := self._attached.get((container, ""))) is None:
            return
        await self._kill(attached)
        while attached.key in self._attached:  # noqa: ASYNC110 - its connection's task takes it out
            await asyncio.sleep(_SETTLE_S)

    async def _forget(self, container: str) -> None:
        """Take a container that has ended out of the machine, and its files with it."""
        if not self._lost:
            await self._quietly({"verb": "delete", "id": container})
        self._machine.share.detach(container)

    def _tell(self, container: str, end: End, *, first: bool = True) -> None:
        """For those who want to know more than an exit code."""
        directory = self._directories / container
        if first and directory.is_dir():
            write_plain(directory / END_FILE, msgspec.json.encode(end), mode=0o600)


def _document(descriptor: int) -> Message:
    """JSON that is too long for a message, in a file in memory."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        document: Message = msgspec.json.decode(file.read())
    return document


def keep(plan: Plan, directories: Path, first: First, ready: Callable[[bytes], None]) -> int:
    """The keeper's main function."""
    try:
        return asyncio.run(Keeper(plan, directories).keep(first, ready))
    except BaseExceptionGroup as failed:
        raise first_error(failed) from failed
