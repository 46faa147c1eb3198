"""Killing a daemon at its n-th door; `tests/crash/doors` counts them inside of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import grpc

from tests.support.daemon import Daemon

NEVER = 1_000_000
_DOORS = Path(__file__).parents[1] / "crash" / "doors"


class Crashes:
    """Of one daemon, which must not have been started yet."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._file = daemon.directory / "crash-at"
        self._limit = NEVER
        daemon.extra_environment |= {"CRASH_AT": str(self._file), "PYTHONPATH": f"{_DOORS}:{os.getcwd()}"}

    def arm(self, crossing: int, only: str = "") -> None:
        """`only`: doors that have to do with this."""
        self._file.write_text(f"{crossing} {only}")
        self._limit = crossing

    def disarm(self) -> int:
        """Stop counting; gives how many doors were crossed since `arm`."""
        self._file.unlink()
        count = self._file.with_name("crash-at.count")
        crossed = int(count.read_text().split()[0]) if count.exists() else 0
        count.unlink(missing_ok=True)
        return crossed

    def is_dead(self) -> bool:
        assert self._daemon.process is not None
        return self._daemon.process.poll() is not None

    def reap(self) -> None:
        """The daemon has killed itself: collect it."""
        self._daemon.disconnect()
        assert self._daemon.process is not None
        assert self._daemon.process.wait(30) == -9

    def dies(self, act: Callable[[], object]) -> bool:
        """Whether the daemon dies in the call, or in what it does after the answer. It may still be about to."""
        crossed = 0
        try:
            act()
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)  # noqa: PT017 - what grpc raises is also a call
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise  # only a daemon that died may have failed the call
            return True
        finally:
            crossed = self.disarm()
        return crossed >= self._limit
