"""The agent: what the host asks for is done, one coroutine a request, and answered. docs/vm.md, "Protocol".

A fault in one request is that request's failure; the agent goes on. It ends the machine when the host asks or is gone.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from podwright import __version__
from podwright.guest import cgroups, machine, statistics
from podwright.guest.containers import Containers
from podwright.guest.failures import BUSY, INVALID, UNSUPPORTED, described
from podwright.guest.failures import Failure as Failed
from podwright.guest.fields import Object, get
from podwright.guest.loop import Loop
from podwright.guest.network import configure
from podwright.guest.port import Port
from podwright.wire.guest_frames import (
    CREDIT,
    DATA,
    END,
    FAILURE,
    NOTICE,
    PROTOCOL,
    REQUEST,
    RESET,
    RESPONSE,
    Frame,
    encode,
)

_REQUESTS_AT_ONCE = 256
_FLUSH_S = 2.0
_MESSAGE_LIMIT = 8192

Verb = Callable[[Object], Object] | Callable[[Object], Coroutine[Any, Any, Object]]


class Agent:
    """Made with the port's descriptor, `run` until the machine shall end."""

    def __init__(self, port: int) -> None:
        self._loop = Loop(_report)
        self._port = Port(self._loop, port, self._received, self._lost)
        self._containers = Containers(self._loop, self._port, self._notify)
        self._under_way = 0
        containers = self._containers
        self._verbs: dict[str, Verb] = {
            "ping": lambda _: {"uptime_s": machine.uptime_s()},
            "network": configure,
            "online": lambda _: machine.bring_online(),
            "stats": self._stats,
            "processes": lambda request: {"processes": statistics.processes(containers.find(request).cgroup)},
            "create": containers.create,
            "start": containers.start,
            "exec": containers.exec,
            "signal": containers.signal,
            "resize": containers.resize,
            "pause": lambda request: containers.freeze(request, frozen=True),
            "resume": lambda request: containers.freeze(request, frozen=False),
            "update": containers.update,
            "delete": containers.delete,
            "shutdown": self._shutdown,
        }

    def run(self) -> None:
        """Say hello, and serve."""
        self._notify({
            "notice": "hello", "protocol": PROTOCOL, "agent": __version__, "kernel": os.uname().release,
            "cpus": os.cpu_count() or 1, "memory_bytes": machine.memory_bytes(), "uptime_s": machine.uptime_s(),
        })  # fmt: skip
        gc.freeze()  # what is here stays: a forked child shares it for longer
        self._loop.run()

    def _notify(self, notice: Object) -> None:
        self._port.write(encode(NOTICE, 0, json.dumps(notice).encode()))

    def _lost(self, reason: str) -> None:
        """Nobody is there to tell any more."""
        os.write(2, f"podwright: {reason}: powering off\n".encode())
        self._loop.stop()

    def _received(self, frame: Frame) -> None:
        pumps = self._containers.pumps
        if frame.kind == REQUEST:
            self._loop.start(self._answer(frame))
        elif frame.kind == DATA:
            if source := pumps.input(frame.id):
                source.feed(frame.body)
        elif frame.kind == END:
            if source := pumps.input(frame.id):
                source.end()
        elif frame.kind == CREDIT:
            if sink := pumps.output(frame.id):
                sink.resume()
        elif frame.kind == RESET and (sink := pumps.output(frame.id)):
            sink.close()

    async def _answer(self, frame: Frame) -> None:
        self._under_way += 1
        try:
            answer = encode(RESPONSE, frame.id, json.dumps(await self._do(frame.body)).encode())
        except Exception as error:
            failure = described(error)
            words = {"kind": failure.kind, "message": str(failure)[:_MESSAGE_LIMIT]}
            answer = encode(FAILURE, frame.id, json.dumps(words).encode())
        finally:
            self._under_way -= 1
        self._port.write(answer)

    async def _do(self, body: bytes) -> Object:
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Failed(INVALID, f"the request is not JSON: {error}") from None
        if not isinstance(request, dict):
            raise Failed(INVALID, "the request is not an object")
        if self._under_way > _REQUESTS_AT_ONCE:
            raise Failed(BUSY, f"{_REQUESTS_AT_ONCE} requests are under way")
        name = get(request, "verb", str)
        verb = self._verbs.get(name)
        if verb is None:
            raise Failed(UNSUPPORTED, f"verb: there is no {name[:100]!r}")
        done = verb(request)
        return done if isinstance(done, dict) else await done

    def _stats(self, request: Object) -> Object:
        if "id" not in request:
            return statistics.of_machine()
        return statistics.of_container(self._containers.find(request).cgroup)

    async def _shutdown(self, _: Object) -> Object:
        """Its answer goes out first: power is cut by `init` when the loop has ended."""
        await self._containers.kill_all()
        os.sync()
        self._loop.start(self._stop_when_flushed())
        return {}

    async def _stop_when_flushed(self) -> None:
        deadline = machine.uptime_s() + _FLUSH_S
        await self._loop.sleep(0)
        while not self._port.idle and machine.uptime_s() < deadline:
            await self._loop.sleep(0.01)
        self._loop.stop()


def _report(error: Exception) -> None:
    """A defect, on the console."""
    sys.excepthook(type(error), error, error.__traceback__)


def prepare_and_run(port: int) -> None:
    """What containers need, then the agent."""
    cgroups.set_up()
    Agent(port).run()
