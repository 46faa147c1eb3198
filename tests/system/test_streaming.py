"""Exec, Attach and PortForward through the daemon's socket and the URLs it returns."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.base.streams import ProcessStreams, TerminalSize
from podwright.base.tasks import Tasks, in_thread
from podwright.criapi import api_pb2 as pb
from podwright.streaming import client
from podwright.streaming.base import Wanted
from podwright.wire import channels
from podwright.wire.remotecommand import Outcome, decode_outcome
from tests.support.daemon import WITH_SHIM, Daemon, container_config
from tests.support.streaming import Bytes, Collected, WebSocketClient, sizes
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


ALL = Wanted(stdin=True, stdout=True, stderr=True)
TERMINAL = Wanted(stdin=True, stdout=True, terminal=True)


def exec_url(daemon: Daemon, container: str, *command: str, wanted: Wanted = ALL) -> str:
    request = pb.ExecRequest(
        container_id=container, cmd=command,
        stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr, tty=wanted.terminal,
    )  # fmt: skip
    return str(daemon.runtime.Exec(request).url)


@WITH_SHIM
async def test_exec_over_both_transports(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000")
    script = "cat; echo err >&2; exit 3"
    out, err = Collected(), Collected()
    streams = ProcessStreams(Bytes(b"in ", b"and out"), out, err)
    outcome = await client.remote_command(exec_url(daemon, container, "sh", "-c", script), ALL, streams)
    assert (outcome, bytes(out.data), bytes(err.data)) == (Outcome(3), b"in and out", b"err\n")
    socket = await WebSocketClient.connect(exec_url(daemon, container, "sh", "-c", script), channels.V5)
    await socket.send(channels.encode(channels.STDIN, b"in and out", channels.V5))
    await socket.send(channels.encode_end(channels.STDIN))
    found: dict[int, bytes] = {}
    async for message in socket.messages():
        found[message[0]] = found.get(message[0], b"") + message[1:]
    await socket.close()
    assert (found[channels.STDOUT], found[channels.STDERR]) == (b"in and out", b"err\n")
    assert decode_outcome(found[channels.ERROR]) == Outcome(3)


@WITH_SHIM
async def test_a_terminal_has_its_size_from_the_first_moment(daemon: Daemon) -> None:
    """A program that asks but once. crun 1.8.1 reads no process.consoleSize of an exec: there it gets a moment."""
    moment = "sleep 0.2; " if daemon.handler == "crun" else ""
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")

    for _ in range(5):
        out = Collected()
        streams = ProcessStreams(None, out, None, sizes(TerminalSize(width=101, height=41)))
        wanted = Wanted(stdout=True, terminal=True)
        url = exec_url(daemon, container, "sh", "-c", f"{moment}exec busybox stty size", wanted=wanted)
        assert await client.remote_command(url, wanted, streams) == Outcome(0)
        assert bytes(out.data) == b"41 101\r\n"


async def test_attaching_and_leaving_leaves_nothing(crun_daemon: Daemon) -> None:
    logged = crun_daemon.log.stat().st_size
    pod = crun_daemon.run_pod(host_network=True)
    config = container_config("main", "cat")
    config.stdin = config.tty = True
    container = crun_daemon.create(pod, config)
    crun_daemon.start_container(container)
    request = pb.AttachRequest(container_id=container, stdin=True, stdout=True, tty=True)

    async def attach_and_leave() -> None:
        out, tasks = Collected(), Tasks("test")
        streams = ProcessStreams(
            Bytes(b"hello\n", endless=True), out, None, sizes(*(TerminalSize(n, n) for n in range(1, 100)))
        )
        url = crun_daemon.runtime.Attach(request).url
        tasks.start(client.remote_command(url, TERMINAL, streams), name="attach")
        await out.got_some.wait()
        await tasks.close()

    def held() -> list[str]:
        assert crun_daemon.process is not None
        directory = Path(f"/proc/{crun_daemon.process.pid}/fd")
        found = []
        for descriptor in directory.iterdir():
            with suppress(FileNotFoundError):  # closed just now
                found.append(os.readlink(descriptor).partition(":")[0])
        return sorted(found)

    await attach_and_leave()
    before = held()
    for _ in range(50):
        await attach_and_leave()
    async with asyncio.timeout(10):
        while len(held()) > len(before):
            await asyncio.sleep(0.02)
    assert crun_daemon.status(container).state == pb.CONTAINER_RUNNING
    said = crun_daemon.log.read_bytes()[logged:].decode()
    assert "error" not in [line.split("[")[1][:5] for line in said.splitlines() if "[" in line]


async def test_a_daemon_that_stops_says_so_to_its_clients(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.run_container(pod, "sleep", "1000")
    out, tasks = Collected(), Tasks("test")
    url = exec_url(crun_daemon, container, "sh", "-c", "echo started; sleep 1000")
    streams = ProcessStreams(Bytes(endless=True), out, Collected())
    running = tasks.start(client.remote_command(url, ALL, streams), name="exec")
    await out.got_some.wait()
    await in_thread(crun_daemon.stop)
    assert "stopping" in (await running).error
    crun_daemon.start()
    assert crun_daemon.status(container).state == pb.CONTAINER_RUNNING
