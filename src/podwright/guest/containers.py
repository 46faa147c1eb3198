"""The machine's containers: made, started, executed in, signalled and forgotten. One method a verb of docs/vm.md.

State is what is known: a container has been started or not, its first process has ended or not, its cgroup is frozen
or not.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from podwright.guest import cgroups, limits
from podwright.guest.child import Place
from podwright.guest.device_rules import limit_devices
from podwright.guest.failures import EXISTS, INTERNAL, INVALID, NOT_FOUND, STATE, Failure
from podwright.guest.fields import Object, get, name
from podwright.guest.kernel_files import pairs
from podwright.guest.launch import go, launch
from podwright.guest.loop import PRIORITY, Loop
from podwright.guest.machine import share_memory, use_host_name, use_sysctls
from podwright.guest.port import Port
from podwright.guest.programs import Program, Pumps, Stdio
from podwright.guest.specification import MACHINES, NEW, Process, plan, process

Notify = Callable[[Object], None]


class Container:
    """What is known of one. `program` is None while it is being made; `seccomp` its filter, which execs get, too."""

    def __init__(self, identity: str, seccomp: bytes) -> None:
        self.id, self.seccomp = identity, seccomp
        self.cgroup = cgroups.TOP + cgroups.path_of(identity)
        self.program: Program | None = None
        self.execs: dict[str, Program] = {}
        self.beginning: set[str] = set()
        """Execs that are being made."""
        self.started = self.paused = self.deleting = False
        self.oom_kills = 0
        self.events = -1

    def cgroup_of(self, execution: str) -> str:
        """Where an exec is with all that it starts: without controllers, so that the container's limits are its own."""
        return f"{self.cgroup}/exec-{execution}"

    def require_program(self) -> Program:
        """Its first process, running or ended. Raises Failure while it is being made."""
        if self.program is None:
            raise Failure(STATE, f"container {self.id} is being created")
        return self.program


class Containers:
    """All of them."""

    def __init__(self, loop: Loop, port: Port, notify: Notify) -> None:
        self._loop, self._port, self._notify = loop, port, notify
        self._containers: dict[str, Container] = {}
        self.pumps = Pumps()

    def __len__(self) -> int:
        return len(self._containers)

    def find(self, request: Object) -> Container:
        """The container of a request. Raises Failure."""
        identity = name(request, "id")
        container = self._containers.get(identity)
        if container is None:
            raise Failure(NOT_FOUND, f"there is no container {identity}")
        return container

    async def create(self, request: Object) -> Object:
        identity = name(request, "id")
        if identity in self._containers:
            raise Failure(EXISTS, f"container {identity} exists")
        wanted = plan(get(request, "spec", dict), get(request, "rootfs", str))
        container = self._containers[identity] = Container(identity, wanted.program)
        try:
            use_sysctls(wanted.sysctls)
            share_memory(wanted.shm_options)
            use_host_name(wanted.hostname)
            cgroups.make(container.cgroup, wanted.limits)
            limit_devices(container.cgroup, wanted.device_rules)
            place = Place(container.cgroup, wanted.layout, wanted.own_cgroup_namespace)
            with self._pid_namespace(wanted.pid_namespace) as namespace:
                program = await self._launch(request, wanted.process, place, namespace)
        except BaseException:
            await self._forget(container)
            raise
        container.program = program
        self._watch_memory(container)
        self._loop.start(self._wait(container, "", program))
        return {"pid": program.pid}

    @contextmanager
    def _pid_namespace(self, wanted: str) -> Iterator[str | int]:
        """What `launch` takes: NEW and MACHINES as they are, of a container its descriptor."""
        if wanted in (NEW, MACHINES):
            yield wanted
            return
        container = self._containers.get(wanted)
        if container is None or container.program is None or container.program.ended:
            raise Failure(NOT_FOUND, f"there is no running container {wanted}, whose PID namespace is asked for")
        fd = os.open(f"/proc/{container.program.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    async def _launch(self, request: Object, wanted: Process, place: Place, namespace: str | int) -> Program:
        """A child that waits to begin, with its streams."""
        stdio = Stdio(self._loop, self._port, self.pumps, request, terminal=wanted.terminal)
        try:
            with stdio:
                launched = await launch(self._loop, wanted, place, stdio.theirs, namespace)
            try:
                stdio.connect(launched.terminal)
            except BaseException:
                launched.socket.close()  # the child ends itself without its word
                raise
        except BaseException:
            stdio.close()
            raise
        return Program(launched, stdio)

    async def start(self, request: Object) -> Object:
        container = self.find(request)
        program = container.require_program()
        if container.started or program.ended:
            raise Failure(STATE, f"container {container.id} has been started already")
        container.started = True
        await go(self._loop, program.go)
        return {}

    async def exec(self, request: Object) -> Object:
        container, key = self.find(request), name(request, "exec")
        self._require_running(container)
        if container.paused:
            raise Failure(STATE, f"container {container.id} is paused")
        if key in container.execs or key in container.beginning:
            raise Failure(EXISTS, f"exec {key} exists in container {container.id}")
        wanted = process(get(request, "process", dict), "process.", container.seccomp)
        container.beginning.add(key)
        try:
            program = await self._enter(container, request, wanted)
            try:
                await go(self._loop, program.go)
            except Exception:
                program.signal(signal.SIGKILL)
                program.stdio.close()
                await program.end
                _remove_if_empty(container.cgroup_of(key))
                raise
            container.execs[key] = program
        finally:
            container.beginning.discard(key)
        self._loop.start(self._wait(container, key, program))
        return {"pid": program.pid}

    async def _enter(self, container: Container, request: Object, wanted: Process) -> Program:
        """A child in the namespaces of a container's first process."""
        directory = f"/proc/{container.require_program().pid}/ns"
        fds: list[int] = []
        try:
            for kind in ("pid", "cgroup", "mnt"):
                fds.append(os.open(f"{directory}/{kind}", os.O_RDONLY | os.O_CLOEXEC))
            cgroup = container.cgroup_of(name(request, "exec"))
            os.mkdir(cgroup)
            place = Place(cgroup, None, own_cgroup_namespace=False, namespaces=(fds[1], fds[2]))
            return await self._launch(request, wanted, place, fds[0])
        except (Failure, OSError):
            _remove_if_empty(container.cgroup_of(name(request, "exec")))
            # One cannot enter what is just ending, for one reason or another.
            if container.require_program().ended:
                raise Failure(STATE, f"container {container.id} has ended") from None
            raise
        finally:
            for fd in fds:
                os.close(fd)

    def _require_running(self, container: Container) -> None:
        if container.require_program().ended:
            raise Failure(STATE, f"container {container.id} has ended")
        if not container.started:
            raise Failure(STATE, f"container {container.id} has not been started")

    async def _wait(self, container: Container, exec_: str, program: Program) -> None:
        """Tell the host of the program's end."""
        code = await program.end
        try:
            if not exec_:
                await self._end_everything(container)
            self._count_oom_kills(container)
            program.stdio.drain()
        finally:
            self._tell(container, exec_, program, code)

    async def _end_everything(self, container: Container) -> None:
        """Its PID namespace has died with the first process; where it had none, nothing else would end the others."""
        cgroups.signal_all(container.cgroup, signal.SIGKILL)
        await cgroups.emptied(self._loop, container.cgroup)
        while container.execs or container.beginning:
            await self._loop.sleep(0.005)

    def _tell(self, container: Container, exec_: str, program: Program, code: int) -> None:
        notice: Object = {"notice": "exit", "id": container.id, "code": code, "at_ns": time.time_ns()}
        if exec_:
            notice["exec"] = exec_
            container.execs.pop(exec_, None)
            _remove_if_empty(container.cgroup_of(exec_))
        program.told = True
        self._notify(notice | {"oom": container.oom_kills > 0})

    def signal(self, request: Object) -> Object:
        container, number = self.find(request), get(request, "signal", int)
        if number not in signal.valid_signals():
            raise Failure(INVALID, f"signal: {number} is no signal")
        container.require_program()
        if get(request, "all", bool, False):
            key = get(request, "exec", str, "")
            cgroups.signal_all(container.cgroup_of(key) if key in container.execs else container.cgroup, number)
            return {}
        if not self._program(container, request).signal(number):
            raise Failure(NOT_FOUND, f"container {container.id} has ended")
        return {}

    def resize(self, request: Object) -> Object:
        program = self._program(self.find(request), request)
        if not program.stdio.resize(get(request, "width", int), get(request, "height", int)) and not program.ended:
            raise Failure(STATE, "the program has no terminal")
        return {}

    def _program(self, container: Container, request: Object) -> Program:
        """The exec that a request names, or the first process."""
        key = get(request, "exec", str, "")
        if not key:
            return container.require_program()
        if key not in container.execs:
            raise Failure(NOT_FOUND, f"there is no exec {key} in container {container.id}")
        return container.execs[key]

    async def freeze(self, request: Object, *, frozen: bool) -> Object:
        container = self.find(request)
        self._require_running(container)
        if not await cgroups.freeze(self._loop, container.cgroup, frozen=frozen):
            raise Failure(INTERNAL, f"container {container.id} does not {'freeze' if frozen else 'thaw'}")
        container.paused = frozen
        return {}

    def update(self, request: Object) -> Object:
        container = self.find(request)
        if container.require_program().ended:
            raise Failure(STATE, f"container {container.id} has ended")
        cgroups.limit(container.cgroup, limits.files(get(request, "resources", dict)))
        return {}

    async def delete(self, request: Object) -> Object:
        container = self.find(request)
        container.require_program()
        if container.deleting:
            raise Failure(STATE, f"container {container.id} is being deleted")
        container.deleting = True
        try:
            await self._forget(container)
        finally:
            container.deleting = False
        return {}

    async def kill_all(self) -> None:
        """SIGKILL to everything, and a while for it to end."""
        cgroups.signal_all(cgroups.TOP + cgroups.PARENT, signal.SIGKILL)
        await cgroups.emptied(self._loop, cgroups.TOP + cgroups.PARENT)

    async def _forget(self, container: Container) -> None:
        """Take down what there is of a container, made or half made."""
        if os.path.isdir(container.cgroup):
            cgroups.signal_all(container.cgroup, signal.SIGKILL)
            if not await cgroups.emptied(self._loop, container.cgroup):
                raise Failure(INTERNAL, f"container {container.id}: its processes don't end")
        while container.program is not None and not container.program.told:
            await self._loop.sleep(0.005)
        if container.events >= 0:
            self._loop.unwatch(container.events)
            os.close(container.events)
            container.events = -1
        cgroups.remove(container.cgroup)
        if container.program is not None:
            container.program.stdio.close()
            container.program.go.close()
        self._containers.pop(container.id, None)

    def _watch_memory(self, container: Container) -> None:
        try:
            container.events = os.open(f"{container.cgroup}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        os.pread(container.events, 4096, 0)
        self._loop.watch(container.events, PRIORITY, lambda _: self._count_oom_kills(container))

    def _count_oom_kills(self, container: Container) -> None:
        if container.events < 0:
            return
        try:
            kills = pairs(os.pread(container.events, 4096, 0).decode()).get("oom_kill", 0)
        except OSError:  # ENODEV: the cgroup is gone
            return
        if kills > container.oom_kills:
            container.oom_kills = kills
            self._notify({"notice": "oom", "id": container.id})


def _remove_if_empty(cgroup: str) -> None:
    """An exec's; what it has left running keeps it, and the container's end removes it."""
    try:
        os.rmdir(cgroup)
    except OSError:
        return
