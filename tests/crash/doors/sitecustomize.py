"""Loaded into the daemon under test by PYTHONPATH: kills it with SIGKILL at the n-th crossing of a door.

A door is where Podwright touches the world: a program started, a mount made or undone, the firewall's rules changed,
a transaction committed, a file written or linked, a directory made, renamed or removed, a Docker Engine told to do
something, a shim called. The file named by CRASH_AT holds n, and a word if only those doors are to count that have to
do with it; while it is absent none does. It dies after the effect; before it is after the one before.
"""

from __future__ import annotations

import functools
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

_FILE = os.environ.get("CRASH_AT", "")
_crossings = 0
_one_at_a_time = threading.Lock()  # threads go through doors, too


def _cross(door: str) -> None:
    with _one_at_a_time:
        _count(door)


def _count(door: str) -> None:
    global _crossings
    try:
        with open(_FILE) as file:
            number, _, word = file.read().partition(" ")
        limit = int(number)
    except (OSError, ValueError):
        _crossings = 0
        return
    if word not in door:
        return
    _crossings += 1
    with open(_FILE + ".new", "w") as count:
        count.write(f"{_crossings} {door}")
    os.replace(_FILE + ".new", _FILE + ".count")
    if _crossings == limit:
        os.kill(os.getpid(), signal.SIGKILL)


def _door(owner: Any, name: str, *, only: Callable[..., bool] | None = None) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def crossed(*arguments: Any, **named: Any) -> Any:
        counts = only is None or only(*arguments)
        result = original(*arguments, **named)
        if counts:
            _cross(f"after {name} {str(arguments)[:500]}")
        return result

    setattr(owner, name, crossed)


def _door_of_coroutine(owner: Any, name: str) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    async def crossed(*arguments: Any, **named: Any) -> Any:
        result = await original(*arguments, **named)
        _cross(f"after {name} {str(arguments)[:500]}")
        return result

    setattr(owner, name, crossed)


if _FILE and "serve" in sys.orig_argv:  # the daemon alone, none of its workers
    from podwright.base import files
    from podwright.linux import nftables, process, syscalls
    from podwright.shim import connection
    from podwright.state import store

    _door(process, "spawn")
    _door(nftables.Nftables, "apply")
    _door_of_coroutine(connection.Connection, "call")
    for _name in ("mount", "umount2", "move_mount"):
        _door(syscalls, _name)
    _door(store.Store, "_execute", only=lambda _self, statement, *_rest: statement == "COMMIT")
    for _name in ("write_plain", "write_atomic", "remove_tree"):
        _door(files, _name)
    for _name in ("mkdir", "rename", "rmdir", "unlink"):
        _door(pathlib.Path, _name)
    _door(os, "link")
    if os.environ.get("PODWRIGHT_BACKEND") == "docker":
        from podwright.docker.engine import Engine

        for _name in ("post", "do", "hijack"):
            _door_of_coroutine(Engine, _name)
