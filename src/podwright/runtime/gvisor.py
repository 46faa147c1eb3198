"""gVisor's runsc: containers whose system calls another kernel answers, the sentry, one for each pod.

The pod's first container, the sandbox container, is made as any runtime makes one: its process is the sentry. Every
further container lives in that sentry and is no process of the host's, so that a monitor has nothing to wait for;
`runsc wait` is put in its place, which ends when the container does, with its exit code. Annotations tell runsc
which container is which (`container/spec/annotations`).
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import msgspec

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, PodwrightError
from podwright.base.ids import random_suffix
from podwright.base.log import get_logger
from podwright.base.tasks import shielded
from podwright.linux.pidfd import ProcessIdentity, identify
from podwright.linux.process import find_program, readable, run
from podwright.oci.runtime_spec import LinuxResources
from podwright.runtime.base import ExecRequest, ExecResult, InteractiveExec, RuntimeCommand, Usage
from podwright.runtime.cli import CliRuntime
from podwright.runtime.usage import read_usage
from podwright.runtime.words import error_of

log = get_logger(__name__)

# Runs `runsc create …`, its arguments. `runsc start` gives the sentry its own streams, and leaves the container's file
# server behind as an orphan: so it has to be run here, where the monitor's streams are and the monitor is the reaper.
# A line at one fifo names the log for it, and an empty one says that the container is deleted; it is open before create
# ends, so that whoever writes then finds a reader. The other fifo gets the status of `start`. What `wait` prints ends
# with the exit status and a brace, and is empty when the sentry ended first.
# A background list has no standard input (sh, "Asynchronous Lists"), so the monitor's is kept under another number.
# TMPDIR is the monitor's; there the sentry, which is nobody, would make the directory that it changes its root to.
_CREATE = """
unset TMPDIR
"$@" || exit
for word; do
  case $before in
    --pid-file) pid_file=$word ;;
    --bundle) bundle=$word ;;
  esac
  before=$word
done
id=$word
[ -e {root}/"${{id}}_sandbox:$id.state" ] && exit
mkfifo "$bundle/{go}" "$bundle/{started}" && exec 3<>"$bundle/{go}" 4<&0 || exit
{{
  while read -r log <&3 && [ -n "$log" ]; do
    {runsc} --log "$log" --log-format json start "$id" <&4 3>&- 4<&-
    status=$?
    echo $status 1<>"$bundle/{started}"
    [ $status = 0 ] && break
  done
  exec 2>/dev/null 3>&- 4<&-
  gofer=$(sed -n 's/.*"goferPid":\\([0-9]*\\).*/\\1/p' {root}/"${{id}}_sandbox:"*.state)
  answer=$({runsc} wait "$id")
  code=${{answer##*:}}
  code=${{code%?}}
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$gofer" && sleep 0.05 || break; done
  exit "${{code:-137}}"
}} &
echo $! >"$pid_file"
"""
# In the bundle.
_GO, _STARTED = "go", "started"

# runsc takes this file for a sign of the host's network namespace, and refuses to work there; newer kernels show it
# in every one. network.go of gVisor, isRootNS.
_SIGN_OF_HOST = "/proc/sys/net/core/rmem_default"
_HIDE_SIGN = 'mount -t tmpfs -o ro none /proc/sys/net && exec "$@"'


class _Sandbox(msgspec.Struct):
    pid: int = 0


class _StateFile(msgspec.Struct, rename="camel"):
    """What matters here of `ID_sandbox:SANDBOX.state`."""

    status: str = ""
    bundle_dir: str = ""
    sandbox: _Sandbox | None = None


class GvisorRuntime(CliRuntime):
    """runsc, with all containers of a pod in one sentry. Implements `base.Runtime`."""

    own_kernel = True
    limits_pods_only = True
    _own_options = ("--oci-seccomp",)  # without it the sentry has no filters for containers

    _sign_shown: bool | None = None

    @property
    def command(self) -> RuntimeCommand:
        command = super().command
        words = [str(command.path), *command.global_args]
        script = _CREATE.format(root=shlex.quote(str(self._root)), runsc=shlex.join(words), go=_GO, started=_STARTED)
        return RuntimeCommand(Path("/bin/sh"), ("-c", script, "runsc", *words))

    @property
    def command_in_user_namespace(self) -> RuntimeCommand:
        return self.command

    def _state_file(self, container_id: str) -> Path | None:
        return next(self._root.glob(f"{container_id}_sandbox:*.state"), None)

    def _read_state(self, container_id: str) -> _StateFile:
        """Empty for a container that is not there."""
        path = self._state_file(container_id)
        try:
            return msgspec.json.decode(path.read_bytes(), type=_StateFile) if path else _StateFile()
        except (OSError, msgspec.MsgspecError):
            return _StateFile()

    def _knows(self, container_id: str) -> bool:
        return self._state_file(container_id) is not None

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        await super().delete(container_id, force=force)
        for lock in self._root.glob(f"{container_id}_sandbox:*.lock"):
            lock.unlink(missing_ok=True)  # of a creation that was killed

    async def start(self, container_id: str) -> None:
        if not (self._root / f"{container_id}_sandbox:{container_id}.state").exists():
            await self._start(container_id)
            return
        prefix: tuple[str, ...] = ()
        if await self._shows_sign():
            unshare = find_program("unshare")
            if unshare is None:
                raise FailedPrecondition("runsc on this kernel needs unshare: install util-linux")
            prefix = (str(unshare), "--mount", "/bin/sh", "-c", _HIDE_SIGN, "sh")
        await self._start(container_id, prefix)

    async def _verb(
        self, verb: str, *arguments: str, container_id: str = "", stdin: bytes = b"", prefix: tuple[str, ...] = (),
        timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        bundle = Path(self._read_state(arguments[-1]).bundle_dir) if verb in ("start", "delete") else Path()
        if verb == "start" and (bundle / _GO).exists():
            await self._start_in_sentry(arguments[0], bundle)
            return
        await super()._verb(
            verb, *arguments, container_id=container_id, stdin=stdin, prefix=prefix, timeout_s=timeout_s
        )
        if verb == "delete":
            _write(bundle / _GO, "\n")

    async def _start_in_sentry(self, container_id: str, bundle: Path) -> None:
        """Start a container that is none of the host's, by way of who waits for it."""
        log_file = self._scratch / f"start-{random_suffix()}.log"
        answer = os.open(bundle / _STARTED, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not _write(bundle / _GO, f"{log_file}\n"):
                raise self._failure("start", container_id, "who waits for it is gone")
            async with asyncio.timeout(self._timeout_s):
                await readable(answer)
            if os.read(answer, 16).strip() != b"0":
                raise self._failure("start", container_id, error_of(log_file.read_bytes()))
        except TimeoutError:
            raise DeadlineExceeded(f"runsc did not start container {container_id[:13]}") from None
        finally:
            os.close(answer)
            log_file.unlink(missing_ok=True)

    async def _shows_sign(self) -> bool:
        """Whether this kernel's network namespaces all look like the host's to runsc; asked once."""
        if self._sign_shown is None:
            done = await run(["unshare", "--net", "test", "-e", _SIGN_OF_HOST], timeout_s=self._timeout_s, check=False)
            self._sign_shown = done.returncode == 0
        return self._sign_shown

    async def usage(self, container_id: str) -> Usage | None:
        data = await read_usage(self._argv, container_id, timeout_s=self._timeout_s)
        return replace(data, memory_limit_bytes=None)

    async def update(self, container_id: str, resources: LinuxResources) -> None:
        raise FailedPrecondition(
            f"runsc can't change limits of a container ({container_id[:13]}): the sentry runs in the pod's cgroup, "
            "whose limits count"
        )

    async def checkpoint_problem(self) -> str:
        """`checkpoint` ends the sentry, and `checkpoint --leave-running` puts another one into its place, in which
        runsc then doesn't find the pod's containers again."""
        return (
            "runsc ends the sentry when it checkpoints a container, and with it all containers of the pod: use a "
            "handler whose containers are processes of the host (Debian's runc)"
        )

    async def kill(
        self,
        container_id: str,
        signal: int,
        *,
        all_processes: bool = False,
        process: ProcessIdentity | None = None,
    ) -> None:
        if signal == SIGKILL and self._read_state(container_id).status == "created":
            await self.delete(container_id, force=True)  # there is nothing yet that a signal could end
            return
        await super().kill(container_id, signal, all_processes=all_processes, process=process)

    def lost(self, container_id: str) -> str:
        sandbox = self._read_state(container_id).sandbox
        if sandbox is None or identify(sandbox.pid) is not None:
            return ""
        return "the pod's sentry, which is the kernel of its containers, has ended"

    async def exec_sync(self, request: ExecRequest) -> ExecResult:
        with self._internal_pid() as (path, option):
            try:
                result = await super().exec_sync(replace(request, options=option))
            except BaseException:
                await shielded(self._end_executed(request.container_id, path), name="kill cancelled exec")
                raise
            if result.timed_out:
                await self._end_executed(request.container_id, path)
            return result

    async def exec(self, request: InteractiveExec) -> int:
        with self._internal_pid() as (path, option):
            try:
                return await super().exec(replace(request, options=option))
            except BaseException:
                await shielded(self._end_executed(request.container_id, path), name="kill cancelled exec")
                raise

    @contextmanager
    def _internal_pid(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """A file for the pid that the sentry gives a process, and the option for it."""
        path = self._scratch / f"sentry-{random_suffix()}.pid"
        try:
            yield path, ("--internal-pid-file", str(path))
        finally:
            path.unlink(missing_ok=True)

    async def _end_executed(self, container_id: str, path: Path) -> None:
        """Kill a process in the sentry and all that it started: what dies on the host is only who waits for it."""
        try:
            first = int(path.read_text())
            done = await run([*self._argv, "ps", container_id], timeout_s=self._timeout_s)
            for pid in descendants(first, done.stdout.decode()):
                argv = [*self._argv, "kill", "--pid", str(pid), container_id, str(int(SIGKILL))]
                await run(argv, timeout_s=self._timeout_s, check=False)
        except (OSError, ValueError, PodwrightError) as error:
            log.info("nothing to kill in the sentry", container=container_id[:13], because=str(error))


def _write(fifo: Path, line: str) -> bool:
    """Whether somebody reads there."""
    try:
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, line.encode())
        return True
    finally:
        os.close(fd)


def descendants(first: int, table: str) -> list[int]:
    """`first` and all below it, parents before children; `table` is that of `runsc ps`: UID, PID, PPID and more."""
    children: dict[int, list[int]] = {}
    for row in table.splitlines()[1:]:
        _, pid, parent, *_ = row.split()
        children.setdefault(int(parent), []).append(int(pid))
    found = [first]
    for one in found:
        found += children.get(one, [])
    return found
