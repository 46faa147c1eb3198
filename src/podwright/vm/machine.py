"""One virtual machine: QEMU, virtiofsd and the agent's connection, from power-on to the end.

    boot ──► hello, network ──► (containers) ──► shutdown
                                     │
                                     └── QEMU's end, the agent's silence: `ended` says why

It lives in its keeper's process, in the keeper's mount namespace. Whatever ends the keeper ends both programs: their
parent-death signal sees to that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podwright.base.errors import FailedPrecondition, PodwrightError, Unavailable
from podwright.base.tasks import Tasks
from podwright.vm import jail, qemu, virtiofsd
from podwright.vm.agent import Agent
from podwright.vm.control import short_path
from podwright.vm.interfaces import PodNetwork, read_network
from podwright.vm.programs import Program, Tail
from podwright.vm.share import Share
from podwright.vm.sharing import INSTALL_VIRTIOFSD, NINE_P, VIRTIOFS
from podwright.vm.tap import open_taps, redirect, stop_redirecting

_PING_S = 5.0
_SHUTDOWN_S, _POWER_OFF_S, _LAST_S = 10.0, 5.0, 0.5


@dataclass(frozen=True)
class Plan:
    """What to boot. `share`: the way to the host's files, of `sharing`. `netns` None: no network but a loopback."""

    directory: Path
    qemu: Path
    kernel: Path
    initrd: Path
    machine: str
    accelerator: str
    share: str
    memory_bytes: int
    cpus: int
    netns: Path | None
    hostname: str
    boot_timeout_s: float
    agent_timeout_s: float


class Machine:
    """`boot` first. `notice` gets the agent's notices."""

    def __init__(self, plan: Plan, tasks: Tasks) -> None:
        self._plan, self._tasks = plan, tasks
        self.share = Share(plan.directory / "share", followed=plan.share == NINE_P)
        self.network = PodNetwork()
        self.agent: Agent
        self._programs: list[Program] = []
        self._qemu: Program
        self._virtiofsd: Program
        self._console: Tail
        self._reading: asyncio.Task[None]
        self._killed_because = ""

    async def boot(self, notice: object) -> None:
        """Returns when the agent is there and the network is set up. Raises what went wrong, in words for people."""
        plan = self._plan
        taps: list[int] = []
        if plan.netns is not None:
            self.network = await read_network(plan.netns)
            taps = open_taps(plan.netns, len(self.network.interfaces))
        files = await self._start_virtiofsd() if plan.share == VIRTIOFS else None
        agent, console = await self._start_qemu(files, taps)
        self._console = Tail(console.detach())
        self._tasks.start(self._console.run(), name="console")
        self.agent = Agent(agent, self._tasks, notice)  # type: ignore[arg-type]
        self._reading = self._tasks.start(self.agent.run(), name="agent")
        if plan.netns is not None:
            await redirect(plan.netns, self.network.interfaces)
        try:
            await self.agent.hello(plan.boot_timeout_s)
        except PodwrightError as error:
            raise Unavailable(f"{error}{await self._last_words()}") from None
        await self.agent.request({"verb": "network", "hostname": plan.hostname, **msgspec.to_builtins(self.network)})
        self._tasks.start(self._ping(), name="ping")
        if files is not None:
            self._tasks.start(self._guard_files(), name="files")

    async def _start_virtiofsd(self) -> socket.socket:
        """A connection to it, for QEMU."""
        program = virtiofsd.find_virtiofsd()
        if program is None:
            raise FailedPrecondition(f"share is virtiofs, and virtiofsd is missing: {INSTALL_VIRTIOFSD}")
        path = self._plan.directory / "files.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            with short_path(path) as short:
                path.unlink(missing_ok=True)
                listener.bind(short)
                listener.listen(1)
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                connection.connect(short)
            path.unlink()
            argv = [str(program), *virtiofsd.arguments(program, self.share.directory, listener.fileno())]
            self._virtiofsd = Program(jail.beside(argv), [listener.fileno()], self._tasks)
            self._programs.append(self._virtiofsd)
        return connection

    async def _start_qemu(self, files: socket.socket | None, taps: list[int]) -> tuple[socket.socket, socket.socket]:
        """Our ends of the agent's connection and of the console. Descriptors that are QEMU's are closed here.

        `files`: virtiofsd's end; None: QEMU serves the share itself.
        """
        plan = self._plan
        agent, its_agent = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        console, its_console = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        kernel, initrd = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in (plan.kernel, plan.initrd))
        nics = [qemu.Nic(tap, i.mac, i.mtu) for tap, i in zip(taps, self.network.interfaces, strict=True)]
        hardware = qemu.Hardware(
            plan.machine, plan.accelerator, plan.memory_bytes, plan.cpus, kernel, initrd,
            its_agent.fileno(), its_console.fileno(), jail.SHARE if files is None else files.fileno(), nics,
        )  # fmt: skip
        argv, kvm = [str(plan.qemu), *qemu.arguments(hardware)], plan.accelerator == "kvm"
        if files is None:
            root = plan.directory / "root"
            root.mkdir(mode=0o755)
            argv = jail.jailed_with_share(argv, keeper=os.getpid(), kvm=kvm, root=root, share=self.share.directory)
        else:
            argv = jail.jailed(argv, keeper=os.getpid(), kvm=kvm)
        try:
            self._qemu = Program(argv, hardware.descriptors(), self._tasks)
            self._programs.insert(0, self._qemu)
        finally:
            for end in (its_agent, its_console, files):
                if end is not None:
                    end.close()
            for descriptor in (kernel, initrd, *taps):
                os.close(descriptor)
        return agent, console

    async def _ping(self) -> None:
        silence_s = self._plan.agent_timeout_s
        while True:
            await asyncio.sleep(min(_PING_S, silence_s))
            try:
                await self.agent.request({"verb": "ping"}, timeout_s=silence_s)
            except Unavailable:
                return
            except PodwrightError:
                self._kill(f"its agent was silent for {silence_s:g} s")
                return

    async def _guard_files(self) -> None:
        """Without its files a machine hangs: better it ends."""
        await self._virtiofsd.ended()
        await asyncio.sleep(_LAST_S)  # it ends with QEMU, too
        if not self._qemu.over:
            self._kill(f"virtiofsd, which has its files, is gone; {self._virtiofsd.said.last_line}")

    def _kill(self, because: str) -> None:
        self._killed_because = self._killed_because or because
        self._qemu.kill()

    async def ended(self) -> str:
        """Wait for the machine's end; why, in words for people."""
        await self._reading
        words = await self._last_words()
        if self._killed_because:
            return f"the pod's virtual machine has ended: {self._killed_because}"
        return f"the pod's virtual machine has ended{words}"

    async def _last_words(self) -> str:
        """How QEMU ended, and what it or the kernel said last."""
        status = await self._qemu.end(grace_s=_POWER_OFF_S)
        how = f": QEMU was killed by signal {-status}" if status < 0 else f": QEMU ended with status {status}"
        if status == -signal.SIGKILL:
            how += " (the kernel does that where the pod's cgroup is too small: see RuntimeClass.overhead)"
        return "; ".join([how, *(words for words in (self._qemu.said.last_line, self._console.last_line) if words)])

    async def shutdown(self) -> None:
        """Power off, by force if it takes long; takes down what the machine had on the host."""
        try:
            await self.agent.request({"verb": "shutdown"}, timeout_s=_SHUTDOWN_S)
        except (PodwrightError, AttributeError):
            await self._destroy(grace_s=0)  # it has ended, or never came up
        else:
            await self._destroy(grace_s=_POWER_OFF_S)

    async def _destroy(self, *, grace_s: float) -> None:
        for program in self._programs:
            await program.end(grace_s=grace_s)
        if self._plan.netns is not None:
            await stop_redirecting(self._plan.netns, self.network.interfaces)


def require_tun() -> None:
    """Raises FailedPrecondition where there are no taps."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise FailedPrecondition("virtual machines with a network need /dev/net/tun: load the module tun")
