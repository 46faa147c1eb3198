"""One Docker Engine for all tests of a run: it takes seconds to start. Each test leaves it empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from podwright.docker.engine import Engine
from podwright.docker.image.service import DockerImages
from podwright.image.settings import Settings
from podwright.registry.base import Settings as RegistrySettings
from tests.support.daemon import HELLO
from tests.support.docker_daemon import DockerDaemon, serving_docker
from tests.support.dockerd import Dockerd, running_dockerd
from tests.support.registry import Registry, running_registry
from tests.support.user_namespaces import pass_through


@pytest.fixture(scope="session")
def shared_dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    directory = tmp_path_factory.getbasetemp() / "dockerd"
    directory.mkdir()
    pass_through(directory)  # to gVisor's sentry, which is nobody
    with running_dockerd(directory) as docker:
        docker.warm_up()
        yield docker


@pytest.fixture
def dockerd(shared_dockerd: Dockerd) -> Iterator[Dockerd]:
    """The engine, without containers and images before and after."""
    shared_dockerd.remove_all()
    yield shared_dockerd
    shared_dockerd.remove_all()


@pytest.fixture
def own_dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    """An engine for one test alone, which may stop, kill and start it."""
    with running_dockerd(tmp_path_factory.mktemp("own") / "d") as docker:
        yield docker


@pytest.fixture
async def engine(dockerd: Dockerd) -> AsyncIterator[Engine]:
    client = Engine(dockerd.socket)
    await client.connect()
    yield client
    await client.close()


@pytest.fixture
async def images(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerImages]:
    """The engine's images, on a node without credentials of its own. A pull that brings nothing ends after 2 s."""
    registry = RegistrySettings(auth_files=(), progress_timeout_s=2)
    opened = DockerImages(engine, Settings(pinned=("*/pinned:*",)), registry, tmp_path / "spool")
    await opened.recover()
    yield opened
    assert list((tmp_path / "spool").iterdir()) == []
    await opened.close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that wants alice's password."""
    with running_registry(tmp_path_factory.mktemp("private"), password="hunter2") as server:
        yield server


@pytest.fixture(scope="session")
def shared_docker_daemon(shared_dockerd: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerDaemon]:
    with serving_docker(DockerDaemon(tmp_path_factory.mktemp("d"), shared_dockerd)) as daemon:
        # What the first pod makes for all others: the bridge, and Docker its handle on the host's network.
        for host_network in (False, True):
            daemon.run_pod(host_network=host_network)
            daemon.clear_pods()
        # And the cgroup above containers of those who name none.
        body = {"Image": HELLO, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
        container = shared_dockerd.request("POST", "/containers/create", body)[1]["Id"]
        shared_dockerd.request("POST", f"/containers/{container}/start")
        shared_dockerd.request("DELETE", f"/containers/{container}", force="1")
        yield daemon


@pytest.fixture
def daemon_runtime() -> str:
    """What the native backend's tests vary."""
    return "runc"


@pytest.fixture
def daemon(daemon_runtime: str, shared_docker_daemon: DockerDaemon) -> Iterator[DockerDaemon]:
    """A daemon for all tests that don't end it; each leaves it without pods."""
    shared_docker_daemon.require_hello()
    yield shared_docker_daemon
    shared_docker_daemon.clear_pods()


@pytest.fixture
def crun_daemon(daemon: DockerDaemon) -> DockerDaemon:
    """What tests of all backends ask for when the runtime plays no part."""
    return daemon


@pytest.fixture
def own_daemon(shared_docker_daemon: DockerDaemon, tmp_path: Path) -> Iterator[DockerDaemon]:
    """A second daemon on the shared engine, for a test that stops, kills and starts it."""
    with serving_docker(DockerDaemon(tmp_path, shared_docker_daemon.docker)) as daemon:
        yield daemon


@pytest.fixture
def daemon_of_own_dockerd(own_dockerd: Dockerd, tmp_path: Path) -> Iterator[DockerDaemon]:
    """A daemon on an engine that the test may stop, kill and start."""
    directory = tmp_path / "podwright"
    directory.mkdir()
    with serving_docker(DockerDaemon(directory, own_dockerd)) as daemon:
        yield daemon


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that the native backend passes once for each of its ways to run a container are the same here each time."""
    again = [item for item in items if item.path.name == "test_as_native.py" and _is_again(item)]
    if again:
        config.hook.pytest_deselected(items=again)
        items[:] = [item for item in items if item not in again]


def _is_again(item: pytest.Item) -> bool:
    given = getattr(item, "callspec", None)
    return given is not None and given.params.get("daemon_runtime", "runc") != "runc"
