"""SIGKILL at every door: after a restart nothing is lost, nothing is left, and the same call succeeds.

For each verb a first run counts how many doors it crosses; then the daemon is killed at each of them in turn, is
started again, gets the same call again (as the kubelet would repeat it), and is asked to take everything down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux.nftables import Nftables
from tests.support import names
from tests.support.crashing import NEVER, Crashes
from tests.support.daemon import HELLO, Daemon, container_config, pod_config
from tests.support.images import HELLO_LAYER, find, listed, marker, pull, registry_config, remove
from tests.support.limits import limits_of
from tests.support.play import wait_for
from tests.support.registry import Registry, push_image, running_registry
from tests.support.user_namespaces import mapping, pass_through, userns_options

pytestmark = pytest.mark.root

HOST_PORT = names.free_port()
PULLED = "crash/pulled"


class CrashingDaemon(Daemon):
    """A daemon that can be told to die at the n-th door."""

    def __init__(self, directory: Path, registry: Registry) -> None:
        super().__init__(directory, runtime="crun", config=registry_config(directory / "etc"))
        conflist = self.cni_dir / "10-test.conflist"
        document = json.loads(conflist.read_text())
        document["plugins"].pop()  # portmap: host ports are to be ours
        conflist.write_text(json.dumps(document))
        self.registry = registry
        self.stored_at_first: list[str] = []
        self.crashes = Crashes(self)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        push_image(running, PULLED, "v1", [HELLO_LAYER, marker("one"), marker("two")])
        yield running


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Iterator[CrashingDaemon]:
    directory = tmp_path_factory.mktemp("crash")
    pass_through(directory)
    server = CrashingDaemon(directory, registry)
    server.start()
    try:
        server.load_hello()
        server.stored_at_first = server.stored()
        yield server
    finally:
        if server.process is not None and server.process.poll() is not None:
            server.start()
        server.remove_everything()
    assert server.leftovers() == []


# What a container may have besides its root file system: another image's files.
VOLUME = pb.Mount(container_path="/volume", image=pb.ImageSpec(image=HELLO), image_sub_path="etc", readonly=True)


def run_pod(daemon: Daemon) -> str:
    ports = [pb.PortMapping(protocol=pb.TCP, container_port=80, host_port=HOST_PORT)]
    config = pod_config("crash", daemon.directory / "logs", port_mappings=ports)
    return str(daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id)


def run_shim_pod(daemon: Daemon) -> str:
    return daemon.run_pod("crash", handler="shim", host_network=True)


def run_userns_pod(daemon: Daemon) -> str:
    config = pod_config("crash", daemon.directory / "logs")
    config.linux.security_context.namespace_options.CopyFrom(userns_options())
    return str(daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id)


def prepare_nothing(_daemon: CrashingDaemon) -> None:
    return


def prepare_pulled(daemon: CrashingDaemon) -> None:
    pull(daemon, daemon.registry.reference(PULLED, "v1"))


def prepare_pod(daemon: CrashingDaemon) -> None:
    run_pod(daemon)


def prepare_userns_pod(daemon: CrashingDaemon) -> None:
    run_userns_pod(daemon)


def prepare_shim_pod(daemon: CrashingDaemon) -> None:
    run_shim_pod(daemon)


def prepare_in_shim(daemon: CrashingDaemon) -> None:
    daemon.run_container(run_shim_pod(daemon), "sleep", "1000")


def prepare_created(daemon: CrashingDaemon) -> None:
    daemon.create(run_pod(daemon), container_config("main", "sleep", "1000"))


def prepare_running(daemon: CrashingDaemon) -> None:
    daemon.run_container(run_pod(daemon), "sleep", "1000")


def prepare_stopped(daemon: CrashingDaemon) -> None:
    daemon.run_container(run_pod(daemon), "sleep", "1000", mounts=[VOLUME])
    daemon.stop_container(daemon.containers()[0].id)


def do_pull(daemon: CrashingDaemon) -> None:
    name = daemon.registry.reference(PULLED, "v1")
    image_id = pull(daemon, name)
    image = find(daemon, name)
    assert image is not None
    assert image.id == image_id


def do_remove_image(daemon: CrashingDaemon) -> None:
    name = daemon.registry.reference(PULLED, "v1")
    remove(daemon, name)
    assert find(daemon, name) is None
    wait_for(lambda: daemon.crashes.is_dead() or daemon.stored() == daemon.stored_at_first, daemon.stored)


def do_run(daemon: CrashingDaemon) -> None:
    pod = run_pod(daemon)
    assert daemon.pod_status(pod).network.ip


def do_create(daemon: CrashingDaemon) -> None:
    daemon.create(daemon.pods()[0].id, container_config("main", "sleep", "1000", mounts=[VOLUME]))
    assert len(daemon.containers()) == 1


def do_run_userns(daemon: CrashingDaemon) -> None:
    assert daemon.pod_status(run_userns_pod(daemon)).network.ip


def do_create_userns(daemon: CrashingDaemon) -> None:
    (daemon.directory / "volume").mkdir(exist_ok=True)
    volume = pb.Mount(
        container_path="/volume", host_path=str(daemon.directory / "volume"), uidMappings=mapping(),
        gidMappings=mapping(),
    )  # fmt: skip
    daemon.create(daemon.pods()[0].id, container_config("main", "sleep", "1000", mounts=[volume]))
    assert len(daemon.containers()) == 1


def do_start(daemon: CrashingDaemon) -> None:
    container = daemon.containers()[0].id
    if daemon.status(container).state == pb.CONTAINER_CREATED:
        daemon.start_container(container)
    assert daemon.status(container).state == pb.CONTAINER_RUNNING


def do_run_in_shim(daemon: CrashingDaemon) -> None:
    if not daemon.containers():
        daemon.create(daemon.pods()[0].id, container_config("main", "sleep", "1000"))
    do_start(daemon)


def do_remove_from_shim(daemon: CrashingDaemon) -> None:
    for container in daemon.containers():
        daemon.stop_container(container.id)
        assert daemon.status(container.id).exit_code == 137, "the exit code is not lost"
        daemon.remove_container(container.id)
    assert daemon.containers() == []


BEFORE = pb.LinuxContainerResources(memory_limit_in_bytes=64 << 20, cpu_quota=50000, cpu_period=100000)
AFTER = pb.LinuxContainerResources(memory_limit_in_bytes=32 << 20, cpu_quota=20000, cpu_period=100000)


def prepare_limited(daemon: CrashingDaemon) -> None:
    daemon.run_container(run_pod(daemon), "sleep", "1000", resources=BEFORE)


def do_update(daemon: CrashingDaemon) -> None:
    """Called again after a crash, it finds the old limits or the new ones, never some of each."""
    container = daemon.containers()[0].id
    assert_in_force(daemon, container)
    daemon.runtime.UpdateContainerResources(pb.UpdateContainerResourcesRequest(container_id=container, linux=AFTER))
    assert_in_force(daemon, container)
    assert daemon.status(container).resources.linux == AFTER


def assert_in_force(daemon: CrashingDaemon, container: str) -> None:
    request = pb.ContainerStatusRequest(container_id=container, verbose=True)
    response = daemon.runtime.ContainerStatus(request)
    shown, limits = response.status.resources.linux, limits_of(json.loads(response.info["info"])["pid"])
    assert shown in (BEFORE, AFTER)
    assert (shown.memory_limit_in_bytes, shown.cpu_quota) == (limits.memory, limits.quota)


def do_stop(daemon: CrashingDaemon) -> None:
    container = daemon.containers()[0].id
    daemon.stop_container(container)
    status = daemon.status(container)
    assert (status.state, status.exit_code) == (pb.CONTAINER_EXITED, 137), "the exit code is not lost"


def do_remove(daemon: CrashingDaemon) -> None:
    for container in daemon.containers():
        daemon.remove_container(container.id)
    assert daemon.containers() == []


def do_stop_pod(daemon: CrashingDaemon) -> None:
    pod = daemon.pods()[0]
    daemon.stop_pod(pod.id)
    assert daemon.pod_status(pod.id).state == pb.SANDBOX_NOTREADY


def do_remove_pod(daemon: CrashingDaemon) -> None:
    for pod in daemon.pods():
        daemon.remove_pod(pod.id)
    assert daemon.pods() == []


Verb = tuple[str, Callable[[CrashingDaemon], None], Callable[[CrashingDaemon], None]]
VERBS: list[Verb] = [
    ("pull", prepare_nothing, do_pull),
    ("remove-image", prepare_pulled, do_remove_image),
    ("run", prepare_nothing, do_run),
    ("create", prepare_pod, do_create),
    ("run-userns", prepare_nothing, do_run_userns),
    ("create-userns", prepare_userns_pod, do_create_userns),
    ("run-in-shim", prepare_shim_pod, do_run_in_shim),
    ("remove-from-shim", prepare_in_shim, do_remove_from_shim),
    ("start", prepare_created, do_start),
    ("update", prepare_limited, do_update),
    ("stop", prepare_running, do_stop),
    ("remove", prepare_stopped, do_remove),
    ("stop-pod", prepare_running, do_stop_pod),
    ("remove-pod", prepare_running, do_remove_pod),
]

points_tested = 0


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_killed_at_every_door(daemon: CrashingDaemon, verb: Verb) -> None:
    global points_tested
    name, prepare, act = verb
    only = "shim" if "shim" in name else ""  # its other doors are those of every handler
    prepare(daemon)
    daemon.crashes.arm(NEVER, only)
    act(daemon)
    doors = daemon.crashes.disarm()
    take_down(daemon)
    assert doors > 0
    for crossing in range(1, doors + 1):
        prepare(daemon)
        daemon.crashes.arm(crossing, only)
        if not daemon.crashes.dies(partial(act, daemon)):
            # Work that goes on after the answer (a tree removed in the background) has fewer doors this time.
            take_down(daemon)
            continue
        daemon.crashes.reap()
        daemon.start()
        points_tested += 1
        assert daemon.images.ImageStatus(pb.ImageStatusRequest(image=pb.ImageSpec(image=HELLO))).image.id
        act(daemon)
        take_down(daemon)


def take_down(daemon: CrashingDaemon) -> None:
    for pod in daemon.pods():
        daemon.remove_pod(pod.id)
    for image in listed(daemon):
        if HELLO not in image.repo_tags:
            check_files(daemon, image.id)
            remove(daemon, image.id)
    assert daemon.pods() == []
    assert daemon.containers() == []
    assert daemon.leftovers() == []
    assert f" {HOST_PORT} :" not in Nftables().apply("list ruleset inet")
    daemon.wait_until_stored(daemon.stored_at_first)


def check_files(daemon: CrashingDaemon, image_id: str) -> None:
    """An image that is there is whole."""
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000", image=image_id)
    assert daemon.exec(container, "cat", "/marks/one", "/marks/two").stdout == b"onetwo"
    daemon.remove_pod(pod)


def test_there_were_enough_points() -> None:
    assert points_tested >= 40
