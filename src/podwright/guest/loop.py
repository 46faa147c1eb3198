"""One thread's events: descriptors, children, and coroutines that wait for them. epoll(7), wait(2).

asyncio would do, but its import alone takes an emulated processor as long as everything else of the agent together.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
READ, WRITE, PRIORITY = select.EPOLLIN, select.EPOLLOUT, select.EPOLLPRI
HUNG_UP = select.EPOLLHUP | select.EPOLLERR


Timer = tuple[float, Callable[[], None]]


class Future(Generic[_T]):
    """A value that comes later, once. One coroutine may wait for it."""

    def __init__(self) -> None:
        self._values: list[_T] = []
        self._waiter: Callable[[], None] | None = None

    @property
    def done(self) -> bool:
        """Whether the value has come."""
        return bool(self._values)

    def set(self, value: _T) -> None:
        """Here it is. A second value is dropped."""
        if not self._values:
            self._values.append(value)
            if self._waiter is not None:
                self._waiter()

    def __await__(self) -> Generator[Future[Any], None, _T]:
        while not self._values:
            yield self
        return self._values[0]

    def when_done(self, then: Callable[[], None]) -> None:
        """Call it when there is a value; by the loop, and in place of who waited before."""
        if self._values:
            then()
        else:
            self._waiter = then


class Loop:
    """`run` until `stop`. Nothing here is for several threads.

    An error that comes out of a callback or coroutine is a defect: `report` gets it, and the loop goes on without
    what raised it.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        self._epoll = select.epoll()
        self._watchers: dict[int, Callable[[int], None]] = {}
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[Timer] = []
        self._awaited: dict[int, Future[int]] = {}
        self._stopped = False
        self._wake, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(self._wake, READ, lambda _: self._drain())

    def watch(self, fd: int, events: int, then: Callable[[int], None]) -> None:
        """Call `then(events)` whenever some are there; HUNG_UP ones come unasked. Again: changes what is watched."""
        if fd in self._watchers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._watchers[fd] = then

    def unwatch(self, fd: int) -> None:
        """Before the descriptor is closed. One that isn't watched is success."""
        if self._watchers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def soon(self, then: Callable[[], None]) -> None:
        """Call it in the loop's next round."""
        self._ready.append(then)

    def after(self, seconds: float, then: Callable[[], None]) -> Timer:
        """Call it later, unless it is given to `cancel` before."""
        timer = (time.monotonic() + seconds, then)
        self._timers.append(timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """One that has rung is success."""
        if timer in self._timers:
            self._timers.remove(timer)

    async def event(self, fd: int, events: int, *, timeout_s: float) -> bool:
        """Wait until `fd` has some of `events`; False: it had none in time."""
        happened: Future[bool] = Future()
        self.watch(fd, events, lambda _: happened.set(True))
        timer = self.after(timeout_s, lambda: happened.set(False))
        try:
            return await happened
        finally:
            self.cancel(timer)
            self.unwatch(fd)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        over: Future[None] = Future()
        self.after(seconds, lambda: over.set(None))
        await over

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine."""

        def step() -> None:
            try:
                waiting: Future[Any] = work.send(None)
            except StopIteration:
                return
            waiting.when_done(lambda: self.soon(step))

        self.soon(step)

    def ended(self, pid: int) -> Future[int]:
        """A child's exit code, 128+n when a signal ended it. To be asked right after the fork."""
        future = self._awaited[pid] = Future[int]()
        return future

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped = True

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped:
            for fd, events in self._epoll.poll(self._wait_s()):
                watcher = self._watchers.get(fd)
                if watcher is not None and not self._call(watcher, events):
                    self.unwatch(fd)
            self._run_timers()
            for _ in range(len(self._ready)):
                self._call(self._ready.popleft())

    def _call(self, callback: Callable[..., None], *arguments: int) -> bool:
        try:
            callback(*arguments)
        except Exception as error:
            self._report(error)
            return False
        return True

    def _wait_s(self) -> float:
        if self._ready:
            return 0
        if not self._timers:
            return -1
        return max(0.0, min(when for when, _ in self._timers) - time.monotonic())

    def _run_timers(self) -> None:
        if self._timers:
            now = time.monotonic()
            due = [then for when, then in self._timers if when <= now]
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for then in due:
                self._call(then)

    def _drain(self) -> None:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._child_ended(pid, status)

    def _child_ended(self, pid: int, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        future = self._awaited.pop(pid, None)
        if future is not None:
            future.set(code)
