"""A daemon with the busybox image, once with each runtime: one that has served other tests before."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.lending import Lender
from tests.support.user_namespaces import pass_through


@pytest.fixture(scope="session")
def _lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lender]:
    def new_directory() -> Path:
        directory = tmp_path_factory.mktemp("d")
        pass_through(directory)
        return directory

    lender = Lender(new_directory)
    yield lender
    lender.close()


@pytest.fixture(autouse=True)
def _running_before(request: pytest.FixtureRequest, _lender: Lender) -> None:
    """The daemon that a test borrows is there before what the test leaves is looked for."""
    if "crun_daemon" in request.fixturenames:
        _lender.lend("crun")
    if "daemon_runtime" in request.fixturenames:
        _lender.lend(request.getfixturevalue("daemon_runtime"))


@pytest.fixture(autouse=True)
def _nothing_left_behind(_running_before: None, _nothing_left_behind: None) -> None:
    """In this order."""


@pytest.fixture(params=["crun", "runc"])
def daemon_runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def daemon(daemon_runtime: str, _lender: Lender) -> Iterator[Daemon]:
    yield _lender.lend(daemon_runtime)
    _lender.take_back(daemon_runtime)


@pytest.fixture
def crun_daemon(_lender: Lender) -> Iterator[Daemon]:
    """For tests in which the runtime plays no part."""
    yield _lender.lend("crun")
    _lender.take_back("crun")


@pytest.fixture
def reaped() -> Iterator[None]:
    """Orphans of an earlier daemon are reaped, as init does; they come to this process, for it is their subreaper."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)
