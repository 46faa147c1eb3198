"""Exec, Attach and PortForward through the daemon's socket and the URLs it returns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config
from tests.system.test_pods import code_of, details_of

pytestmark = pytest.mark.root

URL = r"http://127\.0\.0\.1:\d+/(exec|attach|portforward)/[\w-]{20,}"


def refusal(call: Callable[[Any], object], request: object) -> tuple[str, str]:
    """The code and the message of a call that is refused."""
    with pytest.raises(grpc.RpcError) as refused:
        call(request)
    return code_of(refused).name, details_of(refused)


def test_what_can_not_be_streamed_is_refused_before_there_is_a_url(crun_daemon: Daemon) -> None:
    runtime = crun_daemon.runtime
    pod = crun_daemon.run_pod(host_network=True)
    created = crun_daemon.create(pod, container_config("created", "sleep", "1000"))
    container = crun_daemon.run_container(pod, "sleep", "1000")
    command = ["true"]
    for call, request, code, words in (
        (runtime.Exec, pb.ExecRequest(container_id=container, stdout=True), "INVALID_ARGUMENT", "cmd"),
        (runtime.Exec, pb.ExecRequest(cmd=command, stdout=True), "INVALID_ARGUMENT", "container_id"),
        (runtime.Exec, pb.ExecRequest(container_id=container, cmd=command), "INVALID_ARGUMENT", "stdout"),
        (
            runtime.Exec, pb.ExecRequest(container_id=container, cmd=command, stdout=True, stderr=True, tty=True),
            "INVALID_ARGUMENT", "stderr",
        ),
        (runtime.Exec, pb.ExecRequest(container_id="no", cmd=command, stdout=True), "NOT_FOUND", "no"),
        (runtime.Exec, pb.ExecRequest(container_id=created, cmd=command, stdout=True), "FAILED_PRECONDITION", "run"),
        (runtime.Attach, pb.AttachRequest(container_id=container), "INVALID_ARGUMENT", "stdout"),
        (runtime.Attach, pb.AttachRequest(stdout=True), "INVALID_ARGUMENT", "container_id"),
        (runtime.Attach, pb.AttachRequest(container_id=container, stdout=True, tty=True), "INVALID_ARGUMENT", "tty"),
        (runtime.Attach, pb.AttachRequest(container_id="no", stdout=True), "NOT_FOUND", "no"),
        (runtime.PortForward, pb.PortForwardRequest(), "INVALID_ARGUMENT", "pod_sandbox_id"),
        (runtime.PortForward, pb.PortForwardRequest(pod_sandbox_id="no"), "NOT_FOUND", "no"),
        *(
            (runtime.PortForward, pb.PortForwardRequest(pod_sandbox_id=pod, port=ports), "INVALID_ARGUMENT", "port")
            for ports in ([0], [65536], [-1], [80, 70000], [80] * 128)
        ),
    ):  # fmt: skip
        found = refusal(call, request)
        assert found[0] == code
        assert words in found[1]
    crun_daemon.stop_pod(pod)
    stopped = refusal(runtime.PortForward, pb.PortForwardRequest(pod_sandbox_id=pod))
    assert stopped[0] == "FAILED_PRECONDITION"


def test_urls_are_for_this_node_and_not_without_number(daemon_of_few_urls: Daemon) -> None:
    runtime = daemon_of_few_urls.runtime
    pod = daemon_of_few_urls.run_pod(host_network=True)
    container = daemon_of_few_urls.run_container(pod, "sleep", "1000")
    urls = [
        runtime.Exec(pb.ExecRequest(container_id=container[:10], cmd=["true"], stdout=True)).url,
        runtime.Attach(pb.AttachRequest(container_id=container, stdout=True)).url,
        runtime.PortForward(pb.PortForwardRequest(pod_sandbox_id=pod)).url,
    ]
    for url in urls:
        assert re.fullmatch(URL, url)
    assert refusal(runtime.PortForward, pb.PortForwardRequest(pod_sandbox_id=pod))[0] == "RESOURCE_EXHAUSTED"


@pytest.fixture
def daemon_of_few_urls(tmp_path: Path) -> Iterator[Daemon]:
    server = Daemon(tmp_path, runtime="crun", config="[streaming]\nmax_tokens = 3\n")
    server.start()
    try:
        server.load_hello()
        yield server
    finally:
        server.remove_everything()
