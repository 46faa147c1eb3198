"""GetContainerEvents: what happens to pods and containers, told as it happens, with the whole pod each time."""

from __future__ import annotations

import time
from pathlib import Path

import grpc

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config
from tests.support.events import EventReader


def test_the_life_of_a_pod(daemon: Daemon) -> None:
    before = time.time_ns()
    with EventReader(daemon) as events:
        pod = daemon.run_pod("web", labels={"app": "web"}, annotations={"note": "kept"})
        container = daemon.run_container(pod, "/bin/sleep", "60")
        daemon.stop_container(container)
        daemon.remove_container(container)
        daemon.stop_pod(pod)
        daemon.remove_pod(pod)
        deleted = events.wait_for("deleted", pod)
    assert events.steps() == [
        ("created", pod), ("started", pod),
        ("created", container), ("started", container), ("stopped", container), ("deleted", container),
        ("stopped", pod), ("deleted", pod),
    ]  # fmt: skip
    assert all(event.pod_sandbox_status.id == pod for event in events.events)
    assert all(event.pod_sandbox_status.annotations == {"note": "kept"} for event in events.events)
    times = [event.created_at for event in events.events]
    assert before < times[0]
    assert times == sorted(times)
    states = [event.pod_sandbox_status.state for event in events.events]
    assert states == [pb.SANDBOX_READY] * 6 + [pb.SANDBOX_NOTREADY] * 2
    of_container = [[status.state for status in event.containers_statuses] for event in events.events]
    assert of_container[2:6] == [[pb.CONTAINER_CREATED], [pb.CONTAINER_RUNNING], [pb.CONTAINER_EXITED], []]
    assert list(deleted.containers_statuses) == []


def test_containers_that_end_by_themselves(daemon: Daemon) -> None:
    pod = daemon.run_pod()
    beside = daemon.run_container(pod, "/bin/sleep", "60", name="beside")
    with EventReader(daemon) as events:
        container = daemon.run_container(pod, "/bin/sh", "-c", "exit 7", name="short")
        stopped = events.wait_for("stopped", container)
        assert events.steps() == [("created", container), ("started", container), ("stopped", container)]
    statuses = {status.id: status for status in stopped.containers_statuses}
    assert statuses.keys() == {beside, container}
    assert statuses[beside].state == pb.CONTAINER_RUNNING
    ended = statuses[container]
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 7, "Error")
    assert ended.finished_at >= ended.started_at > 0


def test_a_container_killed_for_want_of_memory(daemon: Daemon) -> None:
    pod = daemon.run_pod()
    limit = 8 * 1024 * 1024
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=limit, memory_swap_limit_in_bytes=limit)
    with EventReader(daemon) as events:
        # A shell whose variable grows: nothing but the first process is there to be killed.
        container = daemon.run_container(
            pod, "/bin/sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done", resources=resources
        )
        (status,) = events.wait_for("stopped", container).containers_statuses
    assert (status.reason, status.exit_code) == ("OOMKilled", 137)


def test_a_container_that_is_stopped_before_it_started(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod()
    with EventReader(crun_daemon) as events:
        container = crun_daemon.create(pod, container_config("main", "/bin/sleep", "60"))
        crun_daemon.stop_container(container)
        events.wait_for("stopped", container)
        assert events.steps() == [("created", container), ("stopped", container)]


def test_what_fails_to_be_created_is_not_told(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod()
    with EventReader(crun_daemon) as events:
        try:
            crun_daemon.create(pod, container_config("main", "/no/such/program"))
        except grpc.RpcError:
            marker = crun_daemon.run_pod("marker")
        events.wait_for("started", marker)
        assert events.steps() == [("created", marker), ("started", marker)]


def test_every_reader_gets_all(crun_daemon: Daemon) -> None:
    with EventReader(crun_daemon) as one, EventReader(crun_daemon) as two:
        pod = crun_daemon.run_pod()
        crun_daemon.remove_pod(pod)
        one.wait_for("deleted", pod)
        two.wait_for("deleted", pod)
        assert one.steps() == two.steps()


def test_a_reader_that_does_not_read_is_cut_off_and_holds_up_nobody(tmp_path: Path) -> None:
    """Big annotations fill the connection first, and then the queue."""
    daemon = Daemon(tmp_path, runtime="crun", config="[server]\nmax_unread_events = 8\n")
    daemon.start()
    try:
        with EventReader(daemon) as quick, EventReader(daemon, read=False) as slow:
            for number in range(200):
                pod = daemon.run_pod(f"p{number}", host_network=True, annotations={"big": "x" * 500_000})
                daemon.remove_pod(pod)
                quick.wait_for("deleted", pod)
                if "too slow" in daemon.log_tail():
                    break
            assert len(quick.events) == 4 * (number + 1)
            slow.start()
            assert slow.wait_end() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "8 events were not read in time" in slow.details
            assert slow.events == quick.events[: len(slow.events)]
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


def test_streams_end_with_the_daemon_and_can_be_opened_again(tmp_path: Path) -> None:
    """Calls that run have their grace when the daemon stops; an open stream must not use it up."""
    daemon = Daemon(tmp_path, runtime="crun", config="[server]\nshutdown_grace_s = 600.0\n")
    daemon.start()
    try:
        pod = daemon.run_pod(host_network=True)
        with EventReader(daemon) as events:
            assert daemon.process is not None
            daemon.process.terminate()
            assert events.wait_end() == grpc.StatusCode.UNAVAILABLE
            assert "stopping" in events.details
            assert daemon.process.wait(60) == 0
        daemon.disconnect()
        daemon.start()
        with EventReader(daemon) as events:
            daemon.remove_pod(pod)
            events.wait_for("deleted", pod)
            assert events.steps() == [("stopped", pod), ("deleted", pod)]
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []
