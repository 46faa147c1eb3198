"""Pods by the handler nspawn, which is there by itself; what they share with other handlers is in test_side_by_side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config, serving

pytestmark = pytest.mark.root


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(Daemon(tmp_path, runtime="crun")) as server:
        yield server


def test_a_pod(daemon: Daemon) -> None:
    """Exit codes, logs, statistics, two containers on one loopback, and an end that leaves nothing."""
    handlers = {handler.name: handler for handler in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
    assert handlers["nspawn"].features.recursive_read_only_mounts
    assert not handlers["nspawn"].features.user_namespaces
    pod = daemon.run_pod(handler="nspawn")
    short = daemon.run_container(pod, "sh", "-c", "echo out; echo err >&2; exit 7", name="short")
    assert daemon.wait_exit(short, timeout_s=60).exit_code == 7
    log = daemon.wait_log(short, "err").read_text()
    assert " stdout F out" in log
    assert " stderr F err" in log

    greedy = daemon.run_container(pod, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done", name="greedy")
    done = daemon.exec(greedy, "sh", "-c", "hostname; cat /proc/1/comm; exit 4", timeout=60)
    assert (done.stdout, done.exit_code) == (b"pod\nsh\n", 4)
    stats = daemon.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=greedy)).stats
    assert stats.memory.working_set_bytes.value > 0
    daemon.stop_container(greedy, grace=60)
    assert daemon.wait_exit(greedy).exit_code == 3
    daemon.stop_pod(pod)
    daemon.remove_pod(pod)
    assert daemon.leftovers() == []


def test_beyond_its_memory(daemon: Daemon) -> None:
    pod = daemon.run_pod(handler="nspawn")
    config = container_config("greedy", "sh", "-c", "x=$(cat /dev/zero | tr '\\0' x)")
    config.linux.resources.memory_limit_in_bytes = 32 << 20
    container = daemon.create(pod, config)
    daemon.start_container(container)
    status = daemon.wait_exit(container, timeout_s=60)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def test_a_shared_process_namespace(daemon: Daemon) -> None:
    pod = daemon.run_pod(handler="nspawn", pid=pb.POD)
    for name in ("one", "two"):
        config = container_config(name, "sleep", "1000")
        config.linux.security_context.namespace_options.pid = pb.POD
        container = daemon.create(pod, config)
        daemon.start_container(container)
    seen = daemon.exec(container, "ps", timeout=60).stdout
    assert seen.count(b"sleep 1000") == 2
    assert b"/pause" in seen
    daemon.stop_container(container, grace=0)
    assert daemon.wait_exit(container).exit_code == 137
