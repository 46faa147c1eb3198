"""A place to try a runtime at: a root file system, bundles, a state directory and a cgroup, all removed again.

No daemon and no monitor: the runtime is called as they call it, and what it orphans is collected here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from podwright.base.errors import FailedPrecondition, PodwrightError
from podwright.base.files import remove_tree, write_plain
from podwright.base.ids import new_id, random_suffix
from podwright.cgroup.base import CgroupDriver
from podwright.cgroup.base import Settings as CgroupSettings
from podwright.cgroup.detect import cgroup_driver
from podwright.linux.orphans import Orphans
from podwright.linux.process import Completed, find_program, run
from podwright.linux.unix_sockets import DescriptorSocket
from podwright.oci.runtime_spec import Linux, LinuxResources, Memory, Mount, Namespace, Process, Root, Spec, User
from podwright.runtime.cli import CliRuntime
from podwright.runtime.handlers import Handlers, Settings

CALL_TIMEOUT_S = 20.0
_POLL_S = 0.02

ENDS_ON_TERM = "trap 'exit 3' TERM; : >/started; while :; do sleep 0.05; done"
MEMORY_BYTES = 64 << 20
_TERMINALS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]


class Failed(Exception):
    """The runtime did something else than expected; the message says what."""


class Unsupported(Exception):
    """The runtime has no such verb, and need not have it."""


class Bench:
    """A runtime with what it is tried on. Containers are called by `new`, and gone after `clear`."""

    def __init__(
        self, driver: CliRuntime, directory: Path, cgroups: CgroupDriver, parent: str, timeout_s: float
    ) -> None:  # fmt: skip
        self.driver, self._directory, self.cgroups, self.parent = driver, directory, cgroups, parent
        self._timeout_s = timeout_s
        self._ids: list[str] = []

    async def call(self, *words: str, stdin: bytes = b"") -> Completed:
        """The runtime, whatever its status. Raises DeadlineExceeded when it hangs; it is killed then."""
        return await run([*self.driver.argv, *words], stdin=stdin, timeout_s=self._timeout_s, check=False)

    async def ok(self, *words: str, stdin: bytes = b"") -> Completed:
        """The same, for a call that has to succeed."""
        done = await self.call(*words, stdin=stdin)
        if done.returncode != 0:
            raise Failed(f"{words[0]} failed: {said(done)}")
        return done

    async def refused(self, *words: str) -> str:
        """The same, for a call that has to fail; what it says."""
        done = await self.call(*words)
        if done.returncode == 0:
            raise Failed(f"{words[0]} succeeded, and should not have")
        return said(done)

    async def optional(self, *words: str, stdin: bytes = b"") -> Completed:
        """A verb that a runtime need not have. Raises Unsupported, Failed."""
        done = await self.call(*words, stdin=stdin)
        if done.returncode == 0:
            return done
        if any(word in said(done).lower() for word in ("unknown command", "no help topic", "subcommands:", "usage:")):
            raise Unsupported(f"it has no {words[0]}")
        raise Failed(f"{words[0]} failed: {said(done)}")

    def new(self, *command: str, terminal: bool = False) -> str:
        """A bundle, and the id for a container of it."""
        container_id = new_id()[:32]
        self._ids.append(container_id)
        rootfs = self.bundle(container_id) / "rootfs"
        for name in ("bin", "proc", "dev", "sys", "tmp"):
            (rootfs / name).mkdir(parents=True)
        busybox = find_program("busybox")
        assert busybox is not None
        shutil.copy(busybox, rootfs / "bin/busybox")
        for name in ("sh", "sleep", "true"):
            (rootfs / "bin" / name).symlink_to("busybox")
        write_plain(
            self.bundle(container_id) / "config.json",
            msgspec.json.encode(self._spec(container_id, command, terminal=terminal)),
        )
        return container_id

    def bundle(self, container_id: str) -> Path:
        return self._directory / "bundles" / container_id

    def cgroup(self, container_id: str) -> str:
        """As the kernel names it."""
        return self.cgroups.kernel_path(self.parent, container_id)

    def _spec(self, container_id: str, command: tuple[str, ...], *, terminal: bool) -> Spec:
        return Spec(
            process=process(*command, terminal=terminal),
            root=Root(path="rootfs"),
            mounts=[
                Mount(destination="/proc", type="proc", source="proc"),
                Mount(destination="/dev", type="tmpfs", source="tmpfs", options=["nosuid", "mode=755"]),
                Mount(destination="/dev/pts", type="devpts", source="devpts", options=_TERMINALS),
            ],
            annotations={"org.podwright.check": "yes"},
            linux=Linux(
                namespaces=[Namespace(type=kind) for kind in ("pid", "mount", "network", "ipc", "uts")],
                cgroups_path=self.cgroups.container_path(self.parent, container_id),
                resources=LinuxResources(memory=Memory(limit=MEMORY_BYTES)),
            ),
        )

    def console(self, container_id: str) -> DescriptorSocket:
        """Where a runtime sends the terminal that it has made; the caller's to close."""
        return DescriptorSocket(self.bundle(container_id), f"console-{random_suffix()}")

    async def create(self, container_id: str, *options: str) -> Completed:
        """Call `create` as a monitor does."""
        command, bundle = self.driver.command, self.bundle(container_id)
        words = ["create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), *options, container_id]
        return await run(
            [command.path, *command.global_args, *words], cwd=bundle, timeout_s=self._timeout_s, check=False
        )  # fmt: skip

    async def created(self, *command: str) -> str:
        """A container that is created."""
        container_id = self.new(*(command or ("/bin/sh", "-c", ENDS_ON_TERM)))
        done = await self.create(container_id)
        if done.returncode != 0:
            raise Failed(f"create failed: {said(done)}")
        return container_id

    async def running(self, *command: str) -> str:
        """A container whose command has begun."""
        container_id = await self.created(*command)
        await self.start(container_id)
        if not command:
            await self.until(lambda: self.started(container_id), "its command did not begin")
        return container_id

    async def stopped(self) -> str:
        """A container that has ended by itself."""
        container_id = await self.running("/bin/true")
        await self.until_status(container_id, "stopped")
        return container_id

    async def start(self, container_id: str) -> None:
        try:
            await self.driver.start(container_id)
        except PodwrightError as error:
            raise Failed(f"start failed: {error}") from None

    def started(self, container_id: str) -> bool:
        """Whether the command of a container has begun."""
        return (self.bundle(container_id) / "rootfs/started").exists()

    async def state(self, container_id: str) -> dict[str, object]:
        """What `state` says."""
        try:
            found = msgspec.json.decode((await self.ok("state", container_id)).stdout)
        except msgspec.MsgspecError as error:
            raise Failed(f"state's answer is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise Failed("state's answer is no JSON object")
        return found

    async def status(self, container_id: str) -> object:
        return (await self.state(container_id)).get("status")

    async def until_status(self, container_id: str, wanted: str) -> None:
        """Wait for a status."""
        async with asyncio.timeout(self._timeout_s / 2):
            while await self.status(container_id) != wanted:  # noqa: ASYNC110 - a runtime gives no other sign
                await asyncio.sleep(_POLL_S)

    async def until(self, condition: Callable[[], object], otherwise: str) -> None:
        """Wait for what can be seen from here. Raises Failed."""
        try:
            async with asyncio.timeout(self._timeout_s / 2):
                while not condition():  # noqa: ASYNC110 - a runtime gives no other sign
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise Failed(otherwise) from None

    async def clear(self) -> list[str]:
        """Remove every container; what could not be removed."""
        left = []
        for container_id in self._ids:
            await self.call("delete", "--force", container_id)
            await self.cgroups.discard(self.cgroup(container_id))
            if (await self.call("state", container_id)).returncode == 0:
                left.append(container_id)
            remove_tree(self.bundle(container_id))
        self._ids.clear()
        return left


def process(*command: str, terminal: bool = False) -> Process:
    """A process of root's."""
    user = User(uid=0, gid=0)
    return Process(args=list(command), cwd="/", env=["PATH=/bin"], user=user, terminal=terminal)


def said(done: Completed) -> str:
    """What a program said, on one line."""
    words = (done.stderr or done.stdout).decode(errors="replace")
    return " ".join(words.split())[:300] or f"exit status {done.returncode}, without a word"


@asynccontextmanager
async def bench(handler: str, settings: Settings, *, timeout_s: float = CALL_TIMEOUT_S) -> AsyncIterator[Bench]:
    """`timeout_s`: when a call is taken to hang. Raises FailedPrecondition, InvalidArgument (no such handler)."""
    if os.geteuid() != 0:
        raise FailedPrecondition("only root can run containers: run it as root")
    if find_program("busybox") is None:
        raise FailedPrecondition("containers are made of busybox: install it (Debian: busybox-static)")
    directory = Path(tempfile.mkdtemp(prefix="podwright-check-"))
    directory.chmod(0o755)  # gVisor's sentry is nobody
    orphans = Orphans()
    cgroups = cgroup_driver(CgroupSettings(driver="cgroupfs"))
    parent = f"/podwright-check-{random_suffix()}"
    made = cgroups.create_parent(parent)
    try:
        driver = Handlers(settings, directory / "state").runtime(handler)
        if not isinstance(driver, CliRuntime):
            raise FailedPrecondition(f"{driver.program.name} has no command line to check")
        tried = Bench(driver, directory, cgroups, parent, timeout_s)
        try:
            yield tried
        finally:
            await tried.clear()
    finally:
        cgroups.remove(made)
        orphans.close()
        remove_tree(directory)
