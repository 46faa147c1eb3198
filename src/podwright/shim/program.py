"""A shim's program: `start`, which leaves a shim serving, and `delete`, which cleans up after one that died."""

from __future__ import annotations

import os
from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.linux.process import ProcessFailed, clean_environment, find_program, run
from podwright.runtime.base import RuntimeFailed
from podwright.runtime.words import tidy
from podwright.shim import bootstrap
from podwright.shim.bootstrap import Endpoint
from podwright.shim.names import Options

# The shim's own messages. Shims expect a fifo that somebody reads, and take a file as well, which nobody must.
_LOG = "log"


class Program:
    """`events`: the path of the socket on which events are taken."""

    def __init__(self, path: Path, events: Path, options: Options | None, *, timeout_s: float) -> None:
        self.path, self.options = path, options
        self._events, self._timeout_s = str(events), timeout_s
        self._newer = False

    async def start(self, container_id: str, bundle: Path) -> Endpoint:
        """A shim for the container in `bundle`: a new one, or that of its pod, which is the program's choice.

        Raises RuntimeFailed, Unimplemented (a protocol that is not ttrpc's), DeadlineExceeded.
        """
        os.close(os.open(bundle / _LOG, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            answer = await self._run("start", container_id, bundle, stdin=self._parameters(container_id))
        except RuntimeFailed as error:
            if self._newer or not bootstrap.wants_parameters(error.words):
                raise
            self._newer = True
            answer = await self._run("start", container_id, bundle, stdin=self._parameters(container_id))
        return bootstrap.parse_endpoint(answer, container_id)

    def _parameters(self, container_id: str) -> bytes:
        if self._newer:
            return bootstrap.parameters(container_id, self._events, self.options)
        return bootstrap.old_parameters(self.options)

    async def delete(self, container_id: str, bundle: Path) -> None:
        """Kill and remove what is left of a container whose shim is dead. Raises RuntimeFailed, DeadlineExceeded."""
        await self._run("delete", container_id, bundle)

    async def _run(self, verb: str, container_id: str, bundle: Path, *, stdin: bytes = b"") -> bytes:
        where = str(bundle) if verb == "delete" else ""
        argv = [str(self.path), *bootstrap.arguments(container_id, self._events, verb, bundle=where)]
        environment = {**clean_environment(), **bootstrap.environment(self._events)}
        try:
            done = await run(argv, stdin=stdin, env=environment, cwd=bundle, timeout_s=self._timeout_s)
        except ProcessFailed as error:
            words = tidy((error.stderr or error.stdout).decode(errors="replace")) or "it gave no reason"
            raise RuntimeFailed(verb, container_id, words, program=self.path.name) from None
        return done.stdout


def find_shim(word: str) -> Path:
    """A shim's program: a path, or a runtime's name as containerd's configuration has it (io.containerd.kata.v2), or
    the program's. Raises FailedPrecondition when it is not installed."""
    name = word
    if "/" not in word and word.count(".") >= 2:
        _, kind, version = word.rsplit(".", 2)
        name = f"containerd-shim-{kind}-{version}"
    program = find_program(name)
    if program is None:
        raise FailedPrecondition(f"shim {name!r} is not installed")
    return program
