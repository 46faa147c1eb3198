"""Daemons for tests of cgroup v2 and systemd: one a runtime for all tests, since a start is dear in `make machine`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.limits import TOP

_BOOTED = Path("/run/systemd/system")  # sd_booted(3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _BOOTED.is_dir() and (TOP / "cgroup.controllers").exists():
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason="needs systemd and cgroup v2: make machine"))


def _serve(directory: Path, runtime: str, cgroup_driver: str) -> Iterator[Daemon]:
    server = Daemon(directory, runtime=runtime, cgroup_driver=cgroup_driver, cni=False)
    server.start()
    try:
        server.load_hello()
        yield server
    finally:
        server.remove_everything()
    assert server.leftovers() == []


@pytest.fixture(scope="session", params=["crun", "runc"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The driver is the one that a node of this kind gets without a setting: systemd's."""
    yield from _serve(tmp_path_factory.mktemp("d"), request.param, "auto")


@pytest.fixture(scope="session")
def cgroupfs_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from _serve(tmp_path_factory.mktemp("d"), "crun", "cgroupfs")


@pytest.fixture(autouse=True)
def _no_pods_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """The daemons live on, the pods of a test don't."""
    yield
    for name in ("daemon", "cgroupfs_daemon"):
        if name in request.fixturenames:
            server: Daemon = request.getfixturevalue(name)
            for pod in server.pods():
                server.remove_pod(pod.id)
