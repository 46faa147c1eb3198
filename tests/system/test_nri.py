"""NRI: plugins that speak the real protocol over the real socket, and what becomes of pods."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as cri
from podwright.nri import nri_pb2 as pb
from tests.support.daemon import Daemon, container_config, serving
from tests.support.limits import limits_of
from tests.support.nri_plugin import Plugin, Refusal, bits, calls_that_are_refused, plugin

pytestmark = pytest.mark.root

MB = 1 << 20
LIFE = [
    "RunPodSandbox", "CreateContainer", "PostCreateContainer", "StartContainer", "PostStartContainer", "StopContainer",
    "RemoveContainer", "StopPodSandbox", "RemovePodSandbox",
]  # fmt: skip


def nri(daemon: Daemon) -> Path:
    return daemon.directory / "nri.sock"


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), str(error.value.details())


def answer(**adjust: Any) -> Callable[[Any], pb.CreateContainerResponse]:
    return lambda request: pb.CreateContainerResponse(adjust=pb.ContainerAdjustment(**adjust))


def update_of(container: str, *, ignore: bool = False, **resources: Any) -> pb.ContainerUpdate:
    change = pb.LinuxContainerUpdate(resources=pb.LinuxResources(**resources))
    return pb.ContainerUpdate(container_id=container, linux=change, ignore_failure=ignore)


def pid_of(daemon: Daemon, container: str) -> int:
    request = cri.ContainerStatusRequest(container_id=container, verbose=True)
    return int(json.loads(daemon.runtime.ContainerStatus(request).info["info"])["pid"])


def memory_limit(daemon: Daemon, container: str) -> int | None:
    return limits_of(pid_of(daemon, container)).memory


def memory(limit: int) -> pb.LinuxMemory:
    return pb.LinuxMemory(limit=pb.OptionalInt64(value=limit))


@pytest.fixture
def background() -> Iterator[Callable[[Callable[[], Any]], Later]]:
    """Calls in threads, all ended with the test."""
    started: list[Later] = []

    def start(work: Callable[[], Any]) -> Later:
        started.append(Later(work))
        return started[-1]

    yield start
    for later in started:
        later.thread.join(30)


class Later:
    """The result of a call in a thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.error: Exception | None = None
        self.value: Any = None
        self.thread = threading.Thread(target=self._run, args=(work,))
        self.thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self.value = work()
        except Exception as error:
            self.error = error

    def result(self) -> Any:
        self.thread.join(30)
        if self.error is not None:
            raise self.error
        return self.value


def test_a_plugin_sees_the_whole_life_in_order(daemon: Daemon) -> None:
    with plugin(nri(daemon)) as guest:
        pod = daemon.run_pod("life", labels={"l": "1"}, annotations={"a": "2"})
        container = daemon.run_container(pod, "sleep", "100", env={"K": "v"})
        daemon.stop_container(container)
        daemon.remove_container(container)
        daemon.remove_pod(pod)
        guest.wait_for("RemovePodSandbox")
        assert guest.methods() == LIFE
        configured = guest.wait_for("Configure")
        seen = guest.wait_for("RunPodSandbox").pod
        created = guest.wait_for("CreateContainer")
        ended = guest.wait_for("StopContainer").container
    assert (configured.runtime_name, configured.request_timeout) == ("podwright", 2000)
    assert (seen.id, seen.name, seen.namespace, seen.uid) == (pod, "life", "test", "uid-life")
    assert (dict(seen.labels), dict(seen.annotations)) == ({"l": "1"}, {"a": "2"})
    assert seen.ips
    assert {"network", "ipc", "uts"} == {namespace.type for namespace in seen.linux.namespaces}
    assert (created.pod.id, created.container.id, created.container.name) == (pod, container, "main")
    assert list(created.container.args) == ["sleep", "100"]
    assert "K=v" in created.container.env
    assert (ended.state, ended.exit_code, ended.status_reason) == (pb.CONTAINER_STOPPED, 137, "Error")


def test_a_container_that_ends_by_itself_is_told_of_once(crun_daemon: Daemon) -> None:
    with plugin(nri(crun_daemon)) as guest:
        pod = crun_daemon.run_pod()
        container = crun_daemon.run_container(pod, "sh", "-c", "exit 3")
        ended = guest.wait_for("StopContainer").container
        assert (ended.id, ended.exit_code) == (container, 3)
        crun_daemon.stop_container(container)
        crun_daemon.remove_pod(pod)
        assert guest.methods().count("StopContainer") == 1
        assert guest.methods().count("StopPodSandbox") == 1


def test_an_adjusted_container(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("from the host")
    mount = pb.Mount(destination="/mnt/x", type="bind", source=str(tmp_path / "shared"), options=["rbind", "ro"])
    adjust = answer(
        annotations={"added.example": "yes"}, mounts=[mount], env=[pb.KeyValue(key="ADDED", value="1")],
        rlimits=[pb.POSIXRlimit(type="RLIMIT_NOFILE", hard=333, soft=222)],
        linux=pb.LinuxContainerAdjustment(
            devices=[pb.LinuxDevice(path="/dev/nri-zero", type="c", major=1, minor=5)],
            resources=pb.LinuxResources(
                memory=memory(96 * MB), cpu=pb.LinuxCPU(shares=pb.OptionalUInt64(value=512)),
                pids=pb.LinuxPids(limit=77),
            ),
        ),
    )  # fmt: skip
    with plugin(nri(daemon), handlers={"CreateContainer": adjust}) as guest:
        pod = daemon.run_pod()
        container = daemon.run_container(pod, "sleep", "100")
        script = "cat /mnt/x/file; echo; echo $ADDED; head -c 2 /dev/nri-zero | od -An -tx1"
        said = daemon.exec(container, "sh", "-c", script)
        assert said.stdout.decode().split() == ["from", "the", "host", "1", "00", "00"], said.stderr
        assert daemon.exec(container, "sh", "-c", "echo > /mnt/x/file").exit_code != 0
        started = guest.wait_for("StartContainer").container
        # An exec by runc 1.1 doesn't tell: Go raises its soft limit.
        assert re.search(r"Max open files +222 +333 ", Path(f"/proc/{pid_of(daemon, container)}/limits").read_text())
    assert memory_limit(daemon, container) == 96 * MB
    assert started.annotations["added.example"] == "yes"
    assert "/mnt/x" in [seen.destination for seen in started.mounts]


def test_arguments_seccomp_and_oom_score(daemon: Daemon) -> None:
    policy = pb.LinuxSeccomp(
        default_action="SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86_64"],
        syscalls=[
            pb.LinuxSyscall(
                names=["socket"], action="SCMP_ACT_ERRNO", errno_ret=pb.OptionalUInt32(value=95)
            )
        ],
    )  # fmt: skip
    adjust = answer(
        args=["sh", "-c", "wget http://127.0.0.1:9/ 2>&1; cat /proc/self/oom_score_adj"],
        linux=pb.LinuxContainerAdjustment(seccomp_policy=policy, oom_score_adj=pb.OptionalInt(value=700)),
    )
    security = cri.LinuxContainerSecurityContext(
        seccomp=cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault)
    )
    with plugin(nri(daemon), handlers={"CreateContainer": adjust}) as guest:
        pod = daemon.run_pod()
        container = daemon.run_container(pod, "sleep", "100", security=security)
        daemon.wait_exit(container)
        asked = guest.wait_for("CreateContainer").container.linux.seccomp_profile
    log = (daemon.directory / "logs" / "pod" / "main.log").read_text()
    assert "not supported" in log, log  # errno 95, which no kernel gives for this
    assert log.rstrip().endswith(" 700")
    assert asked.profile_type == pb.SecurityProfile.RUNTIME_DEFAULT


def test_a_cdi_device(tmp_path: Path) -> None:
    specs = tmp_path / "cdi"
    specs.mkdir()
    edits = {"env": ["BY_CDI=1"], "deviceNodes": [{"path": "/dev/by-cdi", "hostPath": "/dev/zero"}]}
    device = {"cdiVersion": "0.6.0", "kind": "vendor.com/x", "devices": [{"name": "one", "containerEdits": edits}]}
    (specs / "x.json").write_text(json.dumps(device))
    config = f'[device]\ncdi_spec_dirs = ["{specs}"]\n'
    adjust = {"CreateContainer": answer(CDI_devices=[pb.CDIDevice(name="vendor.com/x=one")])}
    with serving(Daemon(tmp_path, runtime="crun", config=config)) as server:
        pod = server.run_pod()
        with plugin(nri(server), handlers=adjust) as guest:
            container = server.run_container(pod, "sleep", "100")
            guest.handlers["CreateContainer"] = answer(CDI_devices=[pb.CDIDevice(name="vendor.com/x=two")])
            _, words = refused(lambda: server.create(pod, container_config("two", "sleep", "0")))
        said = server.exec(container, "sh", "-c", "echo $BY_CDI; ls /dev/by-cdi")
    assert said.stdout.split() == [b"1", b"/dev/by-cdi"]
    assert "no CDI device vendor.com/x=two" in words


def test_the_cgroup_of_a_plugins_choice(crun_daemon: Daemon) -> None:
    def elsewhere(request: pb.CreateContainerRequest) -> pb.CreateContainerResponse:
        path = request.container.linux.cgroups_path + "-moved"
        return answer(linux=pb.LinuxContainerAdjustment(cgroups_path=path))(request)

    with plugin(nri(crun_daemon), handlers={"CreateContainer": elsewhere}):
        pod = crun_daemon.run_pod()
        container = crun_daemon.run_container(pod, "sleep", "100")
    assert f"/{container}-moved\n" in Path(f"/proc/{pid_of(crun_daemon, container)}/cgroup").read_text()
    request = cri.ContainerStatsRequest(container_id=container)
    assert crun_daemon.runtime.ContainerStats(request).stats.memory.usage_bytes.value > 0


def test_plugins_are_asked_in_order_and_contradictions_are_errors(crun_daemon: Daemon) -> None:
    first = answer(env=[pb.KeyValue(key="WHO", value="first")])
    with (
        plugin(nri(crun_daemon), "late", "90") as late,
        plugin(nri(crun_daemon), "early", "05", handlers={"CreateContainer": first}),
    ):
        pod = crun_daemon.run_pod()
        crun_daemon.create(pod, container_config("one", "sleep", "0"))
        assert "WHO=first" in late.wait_for("CreateContainer").container.env
        late.handlers["CreateContainer"] = first
        code, words = refused(lambda: crun_daemon.create(pod, container_config("two", "sleep", "0")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "05-early and 90-late both want to set Env WHO" in words
    assert [c.metadata.name for c in crun_daemon.containers()] == ["one"]
    crun_daemon.create(pod, container_config("two", "sleep", "0"))


def test_a_refused_pod_leaves_nothing_and_the_retry_works(crun_daemon: Daemon) -> None:
    def refuse(request: Any) -> None:
        raise Refusal("not today")

    with plugin(nri(crun_daemon), handlers={"RunPodSandbox": refuse}) as guest:
        code, words = refused(lambda: crun_daemon.run_pod("wanted"))
        assert (code, "not today" in words) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        assert guest.methods() == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
        assert crun_daemon.pods() == []
        assert list((crun_daemon.run / "sandboxes").iterdir()) == []
        del guest.handlers["RunPodSandbox"]
        assert crun_daemon.pod_status(crun_daemon.run_pod("wanted")).state == cri.SANDBOX_READY


@pytest.mark.parametrize("method", ["CreateContainer", "StartContainer"])
def test_a_refused_container(crun_daemon: Daemon, method: str) -> None:
    def refuse(request: Any) -> None:
        raise Refusal("not this one")

    pod = crun_daemon.run_pod()
    with plugin(nri(crun_daemon), handlers={method: refuse}) as guest:
        code, words = refused(lambda: crun_daemon.run_container(pod, "sleep", "100"))
        assert (code, "not this one" in words) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        assert "PostStartContainer" not in guest.methods()
        if method == "CreateContainer":
            assert crun_daemon.containers() == []
            assert guest.methods()[-2:] == ["StopContainer", "RemoveContainer"]
            guest.handlers.clear()
            crun_daemon.run_container(pod, "sleep", "100")
        else:
            (container,) = crun_daemon.containers()
            guest.handlers.clear()
            crun_daemon.start_container(container.id)


def test_a_pod_is_not_there_while_plugins_look_at_it(
    crun_daemon: Daemon, background: Callable[[Callable[[], Any]], Later]
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(request: Any) -> None:
        reached.set()
        go_on.wait(20)

    with plugin(nri(crun_daemon), handlers={"RunPodSandbox": hold}) as guest:
        running = background(lambda: crun_daemon.run_pod("slow"))
        try:
            assert reached.wait(20)
            pod = guest.wait_for("RunPodSandbox").pod.id
            assert crun_daemon.pods() == []
            code, _ = refused(lambda: crun_daemon.create(pod, container_config("main", "sleep", "0")))
            assert code == grpc.StatusCode.FAILED_PRECONDITION
        finally:
            go_on.set()
        assert running.result() == pod
        assert crun_daemon.pod_status(pod).state == cri.SANDBOX_READY


def test_a_new_plugin_is_told_what_there_is(daemon: Daemon) -> None:
    pod = daemon.run_pod()
    running = daemon.run_container(pod, "sleep", "100", name="running")
    created = daemon.create(pod, container_config("created", "sleep", "0"))
    daemon.wait_exit(daemon.run_container(pod, "sleep", "0", name="ended"))
    daemon.restart()
    with plugin(nri(daemon)) as guest:
        (request,) = [request for method, request in guest.told if method == "Synchronize"]
    assert [seen.id for seen in request.pods] == [pod]
    assert {seen.id: seen.state for seen in request.containers} == {
        running: pb.CONTAINER_RUNNING, created: pb.CONTAINER_CREATED
    }  # fmt: skip
    assert next(seen for seen in request.containers if seen.id == running).args[0] == "sleep"


def test_no_container_is_lost_while_a_plugin_joins(
    crun_daemon: Daemon, background: Callable[[Callable[[], Any]], Later]
) -> None:
    """Neither in the list nor requested: what upstream's runtimes can lose."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(request: pb.SynchronizeRequest) -> None:
        reached.set()
        go_on.wait(20)

    pod = crun_daemon.run_pod()
    ended = crun_daemon.run_container(pod, "sleep", "100", name="ended")
    guest = Plugin(nri(crun_daemon), handlers={"Synchronize": hold})
    try:
        guest.register()
        assert reached.wait(20)
        creating = background(lambda: crun_daemon.run_container(pod, "sleep", "100", name="new"))
        crun_daemon.stop_container(ended)
        go_on.set()
        new = creating.result()
        assert guest.wait_for("CreateContainer").container.id == new
        assert guest.wait_for("StopContainer").container.id == ended, "what happened meanwhile"
        assert guest.methods().index("StopContainer") < guest.methods().index("CreateContainer")
    finally:
        go_on.set()
        guest.close()


def test_updates_of_other_containers(daemon: Daemon) -> None:
    pod = daemon.run_pod()
    other = daemon.run_container(
        pod, "sleep", "100", name="other", resources=cri.LinuxContainerResources(memory_limit_in_bytes=64 * MB)
    )

    def shrink(request: pb.CreateContainerRequest) -> pb.CreateContainerResponse:
        return pb.CreateContainerResponse(update=[update_of(other, memory=memory(48 * MB))])

    with plugin(nri(daemon), handlers={"CreateContainer": shrink}) as guest:
        daemon.create(pod, container_config("main", "sleep", "0"))
        assert memory_limit(daemon, other) == 48 * MB
        assert daemon.status(other).resources.linux.memory_limit_in_bytes == 48 * MB
        assert guest.update_containers(update_of(other, memory=memory(56 * MB))) == []
        assert memory_limit(daemon, other) == 56 * MB
        bad = update_of(other, pids=pb.LinuxPids(limit=3))
        assert guest.update_containers(bad) == [bad]
        assert guest.update_containers(update_of("gone", memory=memory(MB))) == []
        guest.handlers["CreateContainer"] = lambda request: pb.CreateContainerResponse(update=[bad])
        code, words = refused(lambda: daemon.create(pod, container_config("bad", "sleep", "0")))
        assert (code, "can be updated" in words) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        lenient = update_of(other, ignore=True, pids=pb.LinuxPids(limit=3))
        guest.handlers["CreateContainer"] = lambda request: pb.CreateContainerResponse(update=[lenient])
        daemon.create(pod, container_config("good", "sleep", "0"))


def test_an_update_goes_by_the_plugins(daemon: Daemon) -> None:
    pod = daemon.run_pod()
    resources = cri.LinuxContainerResources(memory_limit_in_bytes=64 * MB)
    container = daemon.run_container(pod, "sleep", "100", resources=resources)

    def more(request: pb.UpdateContainerRequest) -> pb.UpdateContainerResponse:
        wanted = request.linux_resources.memory.limit.value + 8 * MB
        return pb.UpdateContainerResponse(update=[update_of(container, memory=memory(wanted))])

    def ask() -> None:
        asked = cri.LinuxContainerResources(memory_limit_in_bytes=72 * MB)
        daemon.runtime.UpdateContainerResources(
            cri.UpdateContainerResourcesRequest(container_id=container, linux=asked)
        )

    def refuse(request: Any) -> None:
        raise Refusal("too much")

    with plugin(nri(daemon), handlers={"UpdateContainer": more}) as guest:
        ask()
        assert memory_limit(daemon, container) == 80 * MB
        guest.wait_for("PostUpdateContainer")
        guest.handlers["UpdateContainer"] = refuse
        assert "too much" in refused(ask)[1]
        assert memory_limit(daemon, container) == 80 * MB


def test_a_pods_size_goes_by_the_plugins(crun_daemon: Daemon) -> None:
    with plugin(nri(crun_daemon)) as guest:
        pod = crun_daemon.run_pod()
        resources = cri.LinuxContainerResources(cpu_shares=512)
        crun_daemon.runtime.UpdatePodSandboxResources(
            cri.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod, resources=resources)
        )
        assert guest.wait_for("UpdatePodSandbox").linux_resources.cpu.shares.value == 512
        assert guest.wait_for("PostUpdatePodSandbox").pod.linux.pod_resources.cpu.shares.value == 512


def test_eviction(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod()
    container = crun_daemon.run_container(pod, "sleep", "100")
    with plugin(nri(crun_daemon)) as guest:
        guest.update_containers(evict=container)
        assert crun_daemon.wait_exit(container).exit_code == 137
        other = crun_daemon.run_container(pod, "sleep", "100", name="other")
        eviction = pb.CreateContainerResponse(evict=[pb.ContainerEviction(container_id=other)])
        guest.handlers["CreateContainer"] = lambda request: eviction
        crun_daemon.create(pod, container_config("third", "sleep", "0"))
        crun_daemon.wait_exit(other)


def test_a_validator_has_the_last_word(crun_daemon: Daemon) -> None:
    def judge(request: pb.ValidateContainerAdjustmentRequest) -> pb.ValidateContainerAdjustmentResponse:
        owner = request.owners.owners[request.container.id].compound[pb.Env].owners["K"]
        return pb.ValidateContainerAdjustmentResponse(reject=True, reason=f"K by {owner}")

    only = bits(pb.VALIDATE_CONTAINER_ADJUSTMENT)
    adjust = answer(env=[pb.KeyValue(key="K", value="v")])
    pod = crun_daemon.run_pod()
    with (
        plugin(
            nri(crun_daemon), "judge", "99", events=only, handlers={"ValidateContainerAdjustment": judge}
        ) as judging,
        plugin(nri(crun_daemon), "setter", "10", handlers={"CreateContainer": adjust}),
    ):
        _, words = refused(lambda: crun_daemon.create(pod, container_config("main", "sleep", "0")))
        assert "99-judge rejects the container: K by 10-setter" in words
        assert judging.methods() == ["ValidateContainerAdjustment"]
        assert [p.name for p in judging.told[-1][1].plugins] == ["setter", "judge"]


def test_required_plugins(tmp_path: Path) -> None:
    config = f'[nri]\nsocket = "{tmp_path}/nri.sock"\nreject = ["hooks"]\n'
    with serving(Daemon(tmp_path, runtime="crun", config=config)) as server:
        pod = server.run_pod(annotations={"required-plugins.noderesource.dev/container.main": "[guard]"})
        _, words = refused(lambda: server.create(pod, container_config("main", "sleep", "0")))
        assert "not connected: guard" in words
        hooks = answer(hooks=pb.Hooks(poststop=[pb.Hook(path="/bin/true")]))
        with plugin(nri(server), "guard") as guard:
            server.create(pod, container_config("main", "sleep", "0"))
            guard.handlers["CreateContainer"] = hooks
            _, words = refused(lambda: server.create(pod, container_config("hooked", "sleep", "0")))
            assert "may not add OCI hooks" in words


def test_old_plugins_hear_by_state_change(crun_daemon: Daemon) -> None:
    old = frozenset(LIFE) - {"CreateContainer", "StopContainer"}
    with plugin(nri(crun_daemon), without=old) as guest:
        pod = crun_daemon.run_pod()
        crun_daemon.run_container(pod, "sleep", "0")
        crun_daemon.remove_pod(pod)
        changes = [request.event for method, request in guest.told if method == "StateChange"]
    assert changes == [
        pb.RUN_POD_SANDBOX, pb.POST_CREATE_CONTAINER, pb.START_CONTAINER, pb.POST_START_CONTAINER, pb.STOP_POD_SANDBOX,
        pb.REMOVE_CONTAINER, pb.REMOVE_POD_SANDBOX,
    ]  # fmt: skip


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that gives plugins little time."""
    times = "request_timeout_s = 0.3\nregistration_timeout_s = 0.3\nsynchronize_timeout_s = 0.3\n"
    config = f'[nri]\nsocket = "{tmp_path}/nri.sock"\n{times}'
    with serving(Daemon(tmp_path, runtime="crun", config=config)) as server:
        yield server


def test_a_plugin_that_hangs_is_dropped_and_pods_go_on(hasty: Daemon) -> None:
    go_on = threading.Event()

    def hang(request: Any) -> None:
        go_on.wait(20)

    with (
        plugin(nri(hasty), "stuck", handlers={"RunPodSandbox": hang}) as stuck,
        plugin(nri(hasty), "fine", "20") as fine,
    ):
        pod = hasty.run_pod()
        assert stuck.closed.wait(20)
        hasty.run_container(pod, "sleep", "0")
        fine.wait_for("StartContainer")
        go_on.set()
    assert "RunPodSandbox was not answered within 0.3 s" in hasty.log_tail()


def test_a_validator_that_is_lost_on_the_way_is_a_veto(hasty: Daemon) -> None:
    go_on = threading.Event()

    def hang(request: Any) -> None:
        go_on.wait(20)

    pod = hasty.run_pod(annotations={"required-plugins.noderesource.dev/container.other": "[guard]"})
    both = bits(pb.CREATE_CONTAINER, pb.VALIDATE_CONTAINER_ADJUSTMENT)
    for name, events, words in (
        ("main", both, "did not answer"),
        ("other", bits(pb.CREATE_CONTAINER), "not connected"),
    ):
        with plugin(nri(hasty), "guard", events=events, handlers={"CreateContainer": hang}):
            config = container_config(name, "sleep", "0")
            assert words in refused(partial(hasty.create, pod, config))[1]
            go_on.set()
        go_on.clear()
    assert hasty.containers() == []


def test_a_plugin_that_hangs_while_joining_holds_nothing_up(hasty: Daemon) -> None:
    go_on = threading.Event()

    def hang(request: Any) -> None:
        go_on.wait(20)

    silent, stuck = Plugin(nri(hasty)), Plugin(nri(hasty), handlers={"Synchronize": hang})
    try:
        stuck.register()
        pod = hasty.run_pod()
        hasty.run_container(pod, "sleep", "0")
        assert silent.closed.wait(20), "it never registered"
        assert stuck.closed.wait(20)
    finally:
        go_on.set()
        silent.close()
        stuck.close()


@pytest.mark.parametrize(
    "rubbish",
    [b"GET / HTTP/1.0\r\n\r\n" * 10, b"\0\0\0\2\0\0\0\x0a" + b"\xff" * 10, b""],
    ids=["http", "no frame", "nothing"],
)
def test_rubbish_ends_the_connection_only(crun_daemon: Daemon, rubbish: bytes) -> None:
    with plugin(nri(crun_daemon), "good") as good:
        guest = Plugin(nri(crun_daemon), "bad").join()
        guest.send_raw(rubbish)
        if not rubbish:
            guest.close()
        assert guest.closed.wait(20)
        guest.close()
        crun_daemon.run_pod()
        good.wait_for("RunPodSandbox")


def test_a_flood_of_calls_whose_answers_nobody_reads_is_cut_off(crun_daemon: Daemon) -> None:
    flooding = socket.socket(socket.AF_UNIX)
    flooding.connect(str(nri(crun_daemon)))
    flooding.settimeout(20)
    try:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            flooding.sendall(b"".join(calls_that_are_refused(1000)))
    finally:
        flooding.close()
    crun_daemon.run_pod()


@pytest.mark.parametrize(("name", "index"), [("bad name", "10"), ("", "10"), ("x", "1"), ("x", "a1"), ("../x", "10")])
def test_a_bad_identity_is_refused(crun_daemon: Daemon, name: str, index: str) -> None:
    guest = Plugin(nri(crun_daemon), name, index)
    try:
        with pytest.raises((Refusal, ConnectionError), match=r"plugin|closed"):
            guest.register()
        assert guest.closed.wait(20)
    finally:
        guest.close()


def test_a_plugin_of_the_node_is_started_configured_and_ended(tmp_path: Path) -> None:
    server = Daemon(tmp_path, runtime="crun")
    plugins, configs = tmp_path / "plugins", tmp_path / "conf.d"
    plugins.mkdir()
    configs.mkdir()
    server.config.write_text(
        server.config.read_text() + f'plugin_config_dir = "{configs}"\nregistration_timeout_s = 30.0\n'
    )
    program = plugins / "10-ours"
    root = Path(__file__).parents[2]
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = [{str(root)!r}, {str(root / 'src')!r}]\n"
        "from tests.support.nri_plugin import main\nmain()\n"
    )
    program.chmod(0o755)
    (plugins / "20-writable").write_text("#!/bin/sh\ntouch $0.ran\n")
    (plugins / "20-writable").chmod(0o777)
    (plugins / "not-a-plugin").write_text("#!/bin/sh\ntouch $0.ran\n")
    (plugins / "not-a-plugin").chmod(0o755)
    (configs / "ours.conf").write_text("answer: 42\n")
    server.start()
    try:
        told = _wait_for_json(program.with_suffix(".told"))
        assert told["config"] == "answer: 42\n"
        inherited = {"NRI_PLUGIN_NAME", "NRI_PLUGIN_IDX", "NRI_PLUGIN_SOCKET"}
        assert set(told["environment"]) - {"LC_CTYPE"} == inherited  # Python sets LC_CTYPE by itself
        assert "20-writable must belong to root" in server.log.read_text()
        assert list(plugins.glob("*.ran")) == []
    finally:
        server.stop()
    assert not Path(f"/proc/{told['pid']}").exists()


def _wait_for_json(path: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        try:
            return dict(json.loads(path.read_text()))
        except (FileNotFoundError, ValueError):
            assert time.monotonic() < deadline, f"no {path}"
            time.sleep(0.02)  # noqa: TID251 - no event loop here


def test_a_socket_that_somebody_serves_is_left_to_him(tmp_path: Path) -> None:
    server = Daemon(tmp_path, runtime="crun")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(nri(server)))
        other.listen()
        server.start()
        try:
            assert "another runtime serves" in server.log_tail()
            server.restart()
        finally:
            server.stop()
        assert nri(server).exists()
    server.start()  # nobody listens there any more
    try:
        with plugin(nri(server)):
            assert (nri(server).stat().st_mode & 0o777) == 0o600
    finally:
        server.stop()
    assert not nri(server).exists()
