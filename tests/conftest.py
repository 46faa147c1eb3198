"""For every test: temporary directories that are ours alone, and the check that nothing is left behind."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support import leaks, names


def pytest_configure(config: pytest.Config) -> None:
    # pytest's numbered directories are shared by all runs of a user, who remove each other's old ones, mounts or not.
    if config.option.basetemp is None:
        config.option.basetemp = os.fspath(names.TEMPORARY)
    leaks.become_subreaper()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and not leaks.snapshot().mounts:
        shutil.rmtree(names.TEMPORARY, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
async def _tasks_settle() -> AsyncIterator[None]:
    """In the loop of an async test: all tasks have ended when the test and its other fixtures have."""
    yield
    for _ in range(3):  # callbacks of tasks that ended just now
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        pytest.fail("tasks left behind: " + ", ".join(sorted(str(task) for task in left)))


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test leaves no task, process, descriptor, mount, link, cgroup, address lease or firewall rule.

    Autouse fixtures are set up first and taken down last, so this sees what is left after all others of the
    test; what a module's or session's fixture holds is there before and after.
    """
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_tasks_settle")
    may_have_rules = request.node.get_closest_marker("root") is not None and os.geteuid() == 0
    before = leaks.snapshot(rules=may_have_rules)
    yield
    if found := leaks.wait_for_leaks(before, rules=may_have_rules):
        pytest.fail("left behind:\n  " + "\n  ".join(found))
