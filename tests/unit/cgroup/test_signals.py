"""Killing members, and only members."""

from __future__ import annotations

import os

from podwright.cgroup.signals import kill_members
from podwright.linux import process


async def test_members_die() -> None:
    children = [process.spawn(["sleep", "100"]) for _ in range(3)]
    kill_members(lambda: [child.pid for child in children])
    assert [await child.wait() for child in children] == [-9, -9, -9]


async def test_a_pid_that_left_the_list_meanwhile_is_spared() -> None:
    child = process.spawn(["sleep", "100"])
    lists = [[child.pid], []]
    kill_members(lambda: lists.pop(0))
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)
    await child.kill()


async def test_the_dead_are_no_error() -> None:
    child = process.spawn(["true"])
    await child.wait()
    kill_members(lambda: [child.pid])
