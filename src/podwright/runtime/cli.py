"""Any runtime with runc's command line, driven one short-lived process a verb."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec

from podwright.base.errors import PodwrightError
from podwright.linux.process import Completed, ProcessFailed, run
from podwright.oci.runtime_spec import LinuxResources
from podwright.runtime.base import (
    CommandNotRunnable,
    ContainerNotRunning,
    ExecRequest,
    ExecResult,
    Features,
    RuntimeCommand,
    RuntimeFailed,
    RuntimeState,
)
from podwright.runtime.exec import exec_sync
from podwright.runtime.features import read_features

# What runtimes say of a container that they don't know, and of one whose process has ended.
_UNKNOWN = re.compile(r"does not exist|No such file or directory|not found", re.IGNORECASE)
_NOT_RUNNING = re.compile(
    r"not running|no such process|already finished|not in .*(created|running)|stopped", re.IGNORECASE
)
_MISSING_COMMAND = re.compile(
    r"(executable|exec|stat).*(not found|no such file|permission denied|exec format error)", re.IGNORECASE | re.DOTALL
)


class CliRuntime:
    """Implements `runtime.base.Runtime`. `create_command` differs from `program` where creation needs a wrapper."""

    def __init__(
        self, program: Path, root: Path, *, options: tuple[str, ...] = (), timeout_s: float = 60.0,
        create_command: RuntimeCommand | None = None,
    ) -> None:  # fmt: skip
        self._program, self._timeout_s = program, timeout_s
        self._global_args = ("--root", str(root), *options)
        self._create = create_command or RuntimeCommand(program, self._global_args)
        self._features: Features | None = None

    @property
    def command(self) -> RuntimeCommand:
        return self._create

    @property
    def name(self) -> str:
        return self._program.name

    async def _call(self, verb: str, container_id: str, *arguments: str, stdin: bytes = b"") -> Completed:
        argv = [str(self._program), *self._global_args, verb, *arguments, container_id]
        try:
            return await run(argv, stdin=stdin, timeout_s=self._timeout_s)
        except ProcessFailed as error:
            raise self.failure(verb, container_id, words_of(error.stderr or error.stdout)) from error

    def failure(self, verb: str, container_id: str, words: str) -> PodwrightError:
        return start_failure(verb, container_id, words, program=self.name)

    async def state(self, container_id: str) -> RuntimeState | None:
        try:
            done = await self._call("state", container_id)
        except RuntimeFailed as error:
            if _UNKNOWN.search(error.words):
                return None
            raise
        facts = json.loads(done.stdout)
        return RuntimeState(
            container_id=container_id, status=str(facts["status"]), pid=int(facts.get("pid", 0)),
            bundle=Path(str(facts.get("bundle", ""))),
        )  # fmt: skip

    async def start(self, container_id: str) -> None:
        try:
            await self._call("start", container_id)
        except RuntimeFailed as error:
            state = await self.state(container_id)
            if state is None or state.status != "created":
                now = "unknown to the runtime" if state is None else state.status
                raise ContainerNotRunning(f"container {container_id[:13]} is {now}: {error.words}") from error
            raise

    async def kill(self, container_id: str, signal: int, *, all_processes: bool = False) -> None:
        flags = ("--all",) if all_processes else ()
        argv = [str(self._program), *self._global_args, "kill", *flags, container_id, str(signal)]
        done = await run(argv, timeout_s=self._timeout_s, check=False)
        words = words_of(done.stderr or done.stdout)
        if done.returncode != 0 and not _UNKNOWN.search(words) and not _NOT_RUNNING.search(words):
            raise RuntimeFailed("kill", container_id, words, program=self.name)

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        # Without --force first: runc waits 100 ms after the kill that --force begins with, dead or not.
        try:
            await self._call("delete", container_id)
            return
        except RuntimeFailed as error:
            if _UNKNOWN.search(error.words) and await self.state(container_id) is None:
                return
            if not force:
                raise
        try:
            await self._call("delete", container_id, "--force")
        except RuntimeFailed as error:
            if not _UNKNOWN.search(error.words) or await self.state(container_id) is not None:
                raise

    async def update(self, container_id: str, resources: LinuxResources) -> None:
        await self._call("update", container_id, "--resources", "-", stdin=msgspec.json.encode(resources))

    async def pause(self, container_id: str) -> None:
        await self._freeze("pause", container_id, "paused")

    async def resume(self, container_id: str) -> None:
        await self._freeze("resume", container_id, "running")

    async def _freeze(self, verb: str, container_id: str, wanted: str) -> None:
        try:
            await self._call(verb, container_id)
        except RuntimeFailed as error:
            state = await self.state(container_id)
            if state is None or state.status not in ("running", "paused"):
                raise ContainerNotRunning(f"container {container_id[:13]} does not run: {error.words}") from error
            if state.status != wanted:
                raise

    async def exec_sync(self, request: ExecRequest) -> ExecResult:
        return await exec_sync([str(self._program), *self._global_args], request, self.failure)

    async def features(self) -> Features:
        if self._features is None:
            self._features = await read_features(self._program)
        return self._features


def start_failure(verb: str, container_id: str, words: str, *, program: str = "runtime") -> PodwrightError:
    """The error for a verb that failed with the runtime's `words`: the command's fault, or the runtime's."""
    if verb in ("create", "start", "exec") and _MISSING_COMMAND.search(words):
        denied = re.search(r"permission denied|format error", words, re.IGNORECASE)
        return CommandNotRunnable(words, exit_code=126 if denied else 127)
    return RuntimeFailed(verb, container_id, words or "it gave no reason", program=program)


def words_of(output: bytes) -> str:
    """What a runtime wrote when it failed, as one line: the message of a JSON or logrus line, else the text."""
    words = []
    for line in output.decode(errors="replace").splitlines():
        if match := re.search(r'msg="((?:[^"\\]|\\.)*)"', line):
            line = match[1].replace('\\"', '"')
        elif line.startswith("{"):
            try:
                line = str(json.loads(line).get("msg", line))
            except ValueError:
                pass
        words.append(line.strip())
    return "; ".join(dict.fromkeys(word for word in words if word))
