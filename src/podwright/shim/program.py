"""A shim's program: `start`, which leaves a shim serving, and `delete`, which cleans up after one that died."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.any_pb2 import Any

from podwright.base.errors import FailedPrecondition
from podwright.linux.process import ProcessFailed, clean_environment, find_program, run
from podwright.runtime.base import RuntimeCommand, RuntimeFailed
from podwright.runtime.shim_names import program_of
from podwright.runtime.words import tidy
from podwright.shim import bootstrap
from podwright.shim.bootstrap import Endpoint
from podwright.shim.names import RUNC_OPTIONS, is_a

# The shim's own messages. Shims expect a fifo that somebody reads, and take a file as well, which nobody must.
_LOG = "log"


@dataclass(frozen=True)
class ShimCommand(RuntimeCommand):
    """The program of a shim. `options`: those of its handler, as an Any in bytes; empty for none."""

    options: bytes = b""

    @property
    def plain(self) -> bool:
        """Whether containers are processes of this kernel, as runc's shim makes them; of others nothing is known."""
        return is_a(Any.FromString(self.options), RUNC_OPTIONS)


class Programs:
    """Runs the programs of shims. `events`: the path of the socket on which events are taken."""

    def __init__(self, events: Path, *, timeout_s: float) -> None:
        self._events, self._timeout_s = str(events), timeout_s
        self._newer: set[Path] = set()

    async def start(self, command: ShimCommand, container_id: str, bundle: Path) -> Endpoint:
        """A shim for the container in `bundle`: a new one, or that of its pod, which is the program's choice.

        Raises RuntimeFailed, Unimplemented (a protocol that is not ttrpc's), DeadlineExceeded.
        """
        os.close(os.open(bundle / _LOG, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            answer = await self._start(command, container_id, bundle)
        except RuntimeFailed as error:
            if command.path in self._newer or not bootstrap.wants_parameters(error.words):
                raise
            self._newer.add(command.path)
            answer = await self._start(command, container_id, bundle)
        return bootstrap.parse_endpoint(answer, container_id)

    async def _start(self, command: ShimCommand, container_id: str, bundle: Path) -> bytes:
        parameters = command.options
        if command.path in self._newer:
            parameters = bootstrap.parameters(container_id, self._events, command.options)
        return await self._run(command, "start", container_id, bundle, stdin=parameters)

    async def delete(self, command: ShimCommand, container_id: str, bundle: Path) -> None:
        """Kill and remove what is left of a container whose shim is dead. Raises RuntimeFailed, DeadlineExceeded."""
        await self._run(command, "delete", container_id, bundle)

    async def _run(
        self, command: ShimCommand, verb: str, container_id: str, bundle: Path, *, stdin: bytes = b""
    ) -> bytes:  # fmt: skip
        where = str(bundle) if verb == "delete" else ""
        argv = [str(command.path), *bootstrap.arguments(container_id, self._events, verb, bundle=where)]
        environment = {**clean_environment(), **bootstrap.environment(self._events)}
        try:
            done = await run(argv, stdin=stdin, env=environment, cwd=bundle, timeout_s=self._timeout_s)
        except ProcessFailed as error:
            words = tidy((error.stderr or error.stdout).decode(errors="replace")) or "it gave no reason"
            raise RuntimeFailed(verb, container_id, words, program=command.path.name) from None
        return done.stdout


def was_started_in(bundle: Path) -> bool:
    """Whether a shim's program was, or is being, started for this bundle."""
    return (bundle / _LOG).exists()


def find_shim(word: str) -> Path:
    """A shim's program: a path, or a runtime's name as containerd's configuration has it (io.containerd.kata.v2), or
    the program's. Raises FailedPrecondition when it is not installed."""
    name = program_of(word)
    program = find_program(name)
    if program is None:
        raise FailedPrecondition(f"shim {name!r} is not installed")
    return program
