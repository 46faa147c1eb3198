"""Every subcommand against our daemon."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from podwright.cli.pull import draw
from podwright.criapi import podwright_pb2 as own
from tests.support import play, remote
from tests.support.command_line import CommandLine
from tests.support.daemon import HELLO, Daemon
from tests.support.events import wait

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all of them: each test names its own pods."""
    daemon = Daemon(tmp_path_factory.mktemp("c"))
    daemon.start()
    try:
        daemon.load_hello()
        # The first pod makes the bridge, which stays: no test is to be blamed for it.
        daemon.remove_pod(daemon.run_pod("first"))
        yield daemon
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


@pytest.fixture
def podwright(
    server: Daemon, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    yield CommandLine(server.socket, capfd, monkeypatch)
    for pod in server.pods():
        server.remove_pod(pod.id)


def test_the_example_of_the_readme(podwright: CommandLine, tmp_path: Path) -> None:
    play.check_example(podwright, tmp_path)


def test_a_whole_manifest(podwright: CommandLine, tmp_path: Path) -> None:
    play.check_whole_manifest(podwright, tmp_path)


def test_a_failing_init_container(podwright: CommandLine, tmp_path: Path) -> None:
    play.check_failing_init(podwright, tmp_path)


def test_second_plays(podwright: CommandLine, tmp_path: Path) -> None:
    play.check_second_plays(podwright, tmp_path)


def test_errors_before_effects(podwright: CommandLine, tmp_path: Path) -> None:
    play.check_errors_before_effects(podwright, tmp_path)


def test_ps_inspect_stop_rm(podwright: CommandLine, server: Daemon) -> None:
    pod = server.run_pod("one")
    main = server.run_container(pod, "sleep", "1000", name="main")
    done = server.run_container(pod, "sh", "-c", "exit 0", name="done")
    server.wait_exit(done)
    assert podwright.ok("ps", "-q") == f"{main}\n"
    assert podwright.ok("ps", "-aq", "--pod", "one").split() == [done, main]
    rows = podwright.ok("ps", "-a").splitlines()
    assert rows[1].split()[:5] == [done[:12], "done", "one", HELLO, "exited"]
    assert {c["id"] for c in podwright("ps", "-o", "json").json["containers"]} == {main}
    assert podwright.ok("pods", "-q") == f"{pod}\n"
    assert podwright("inspect", "one").json["status"]["state"] == "SANDBOX_READY"
    shown = podwright("inspect", main[:8]).json
    assert shown["status"]["id"] == main
    assert shown["info"]["pid"] > 0
    assert [item["status"].get("repoTags") for item in podwright("inspect", HELLO, "done").json] == [[HELLO], None]
    refused = podwright("rm", "main")
    assert (refused.code, refused.err) == (1, "podwright: container main runs; stop it first, or use --force\n")
    assert "pod one is ready" in podwright("rm", "one").err
    assert podwright.ok("stop", "-t", "0", "one/main") == f"{main}\n"
    assert podwright.ok("rm", "main") == f"{main}\n"
    assert podwright.ok("rm", "-f", "one") == f"{pod}\n"
    assert podwright.ok("ps", "-aq") == ""
    assert podwright.ok("rm", "--all", "--force") == ""


def test_stopping_a_pod_gives_its_containers_their_grace(podwright: CommandLine, server: Daemon) -> None:
    pod = server.run_pod("polite")
    script = "trap 'echo bye; exit 5' TERM; echo ready; sleep 1000 & wait"
    main = server.run_container(pod, "sh", "-c", script, name="main")
    play.wait_for(lambda: podwright.ok("logs", "polite") == "ready\n", server.log_tail)
    podwright.ok("stop", "polite")
    assert server.status(main).exit_code == 5
    assert podwright.ok("logs", "polite") == "ready\nbye\n"


def test_exec(podwright: CommandLine, server: Daemon) -> None:
    pod = server.run_pod("target")
    server.run_container(pod, "sleep", "1000", name="main")
    result = podwright("exec", "main", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.code, result.out, result.err) == (7, "out\n", "err\n")
    assert podwright.ok("exec", "target", "echo", "-t", "--socket") == "-t --socket\n", "options are the command's own"
    late = podwright("exec", "--timeout", "1", "main", "sleep", "30")
    assert late.code == 1
    assert late.err.startswith("podwright: ")


@pytest.mark.parametrize("check", remote.CHECKS, ids=lambda check: check.__name__)
def test_streams(check: Callable[[CommandLine, Path], None], podwright: CommandLine, tmp_path: Path) -> None:
    check(podwright, tmp_path)


def test_logs(podwright: CommandLine, server: Daemon) -> None:
    pod = server.run_pod("chatty")
    script = "for i in 1 2 3; do echo line $i; done; echo problem >&2; sleep 0.6; echo last"
    server.run_container(pod, "sh", "-c", script, name="main")
    followed = podwright("logs", "-f", "main")
    assert (followed.out, followed.err) == ("line 1\nline 2\nline 3\nlast\n", "problem\n")
    assert podwright.ok("logs", "--tail", "1", "chatty/main") == "last\n"
    stamped = podwright.ok("logs", "-t", "--since", "1h", "main").splitlines()
    assert stamped[0].startswith("20")
    assert stamped[0].endswith(" line 1")
    assert podwright.ok("logs", "--since", "2099-01-01T00:00:00Z", "main") == ""


def test_stats(podwright: CommandLine, server: Daemon) -> None:
    pod = server.run_pod("busy")
    main = server.run_container(pod, "sh", "-c", "while :; do :; done", name="main")
    row = podwright.ok("stats", "main").splitlines()[1].split()
    assert row[:3] == [main[:12], "main", "busy"]
    assert float(row[3]) > 0
    assert podwright("stats", "-o", "json").json["stats"][0]["attributes"]["id"] == main
    of_pod = podwright.ok("stats", "--pods", "busy").splitlines()[1].split()
    assert of_pod[:3] == [pod[:12], "busy", "test"]
    assert float(of_pod[3]) > 0
    assert podwright("stats", "--pods", "-o", "json").json["stats"][0]["attributes"]["id"] == pod


def test_events(podwright: CommandLine, server: Daemon) -> None:
    def happen() -> None:
        wait(lambda: "somebody listens to events" in server.log.read_text(), "the stream to open")
        server.remove_pod(server.run_pod("unasked"))
        pod = server.run_pod("told")
        server.wait_exit(server.run_container(pod, "sh", "-c", "exit 7", name="main"))

    happening = threading.Thread(target=happen)
    happening.start()
    lines = podwright.ok("events", "test/told", "--count", "5").splitlines()
    happening.join()
    words = [line.split() for line in lines]
    assert [line[1:3] for line in words] == [
        ["created", "pod"], ["started", "pod"],
        ["created", "container"], ["started", "container"], ["stopped", "container"],
    ]  # fmt: skip
    assert words[0][4] == "test/told"
    assert lines[-1].endswith("test/told/main   exit code 7 (Error)")


def test_status_version_and_doctor(podwright: CommandLine) -> None:
    assert "RuntimeReady   ok" in podwright.ok("status")
    conditions = podwright("status", "-o", "json").json["status"]["conditions"]
    assert {c["type"] for c in conditions} == {"RuntimeReady", "NetworkReady"}
    assert "runtime podwright" in podwright.ok("version")
    assert podwright("version", "-o", "json").json["server"]["runtimeApiVersion"] == "v1"
    findings = {item["check"]: item for item in podwright("doctor", "-o", "json").json}
    assert findings["daemon"]["level"] == "ok"
    assert findings["overlayfs on root"]["level"] == "ok"
    assert findings["runtime"]["message"].startswith(("crun, because", "runc, because"))


def test_images(podwright: CommandLine, server: Daemon, tmp_path: Path) -> None:
    archive = tmp_path / "hello.tar"
    other = "localhost/other:1"
    assert podwright.ok("image", "save", HELLO, "-o", archive).startswith(f"saved {archive}, ")
    assert "exists; remove it first" in podwright("image", "save", HELLO, "-o", archive).err
    assert f"loaded {other}\n" in podwright.ok("image", "load", "--tag", other, archive)
    assert ["localhost/other", "1"] in [row.split()[:2] for row in podwright.ok("images").splitlines()]
    assert "no archive" in podwright("image", "load", tmp_path / "none.tar").err
    (image_id,) = podwright.ok("images", "-q", HELLO).split()
    assert podwright("images", "-o", "json").json["images"][0]["id"] == image_id
    pod = server.run_pod("user")
    server.run_container(pod, "sleep", "1000")
    assert podwright.ok("rmi", "--prune") == "", "the image is in use"
    server.remove_pod(pod)
    assert "removed" in podwright.ok("rmi", "--prune")
    assert "no image" in podwright("rmi", HELLO).err
    server.load_hello()


def test_a_failed_pull_says_why(podwright: CommandLine) -> None:
    result = podwright("pull", "localhost:1/none:1")
    assert result.code == 1
    assert "connection refused" in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["logs", "nope"], "no container 'nope'; `podwright ps -a` lists them"),
        (["exec", "nope", "true"], "no container 'nope'"),
        (["stop", "nope"], "no container or pod 'nope'"),
        (["rm", "nope"], "no container or pod 'nope'"),
        (["rm"], "name what to remove"),
        (["rmi"], "name the images to remove"),
        (["inspect", "nope"], "no container, pod or image 'nope'"),
        (["ps", "--pod", "nope"], "no pod 'nope'"),
        (["play", "/nope.yaml"], "no manifest /nope.yaml"),
        (["pull", "--password-stdin", "x"], "--password-stdin needs --username"),
        (["ps", "--socket", "/nope"], "no daemon at /nope: no such file or directory; start it with"),
        (["ps", "--socket", "/tmp"], "/tmp is not a socket"),
    ],
)
def test_errors_are_one_line(podwright: CommandLine, words: list[str], message: str) -> None:
    result = podwright(*words)
    assert result.code == 1
    assert result.err.startswith(f"podwright: {message}")
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_a_socket_that_nobody_listens_on(podwright: CommandLine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
    result = podwright("ps", "--socket", tmp_path / "s")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "nothing answers at" in result.err


def test_bars(podwright: CommandLine) -> None:
    layer = own.LayerProgress
    events = [
        own.PullProgressEvent(layers=[layer(digest="sha256:" + "a" * 64, phase=layer.WAITING, bytes_total=1000)]),
        own.PullProgressEvent(
            layers=[
                layer(digest="sha256:" + "a" * 64, phase=layer.DONE, bytes_total=1000),
                layer(digest="sha256:" + "b" * 64, phase=layer.FETCHING, bytes_done=500, bytes_total=2000),
            ],
            finished=True,
        ),
    ]
    shown = io.StringIO()
    draw(events, Console(file=shown, force_terminal=True, width=100))
    last = shown.getvalue().rsplit("\r", 1)[-1]
    assert "aaaaaaaaaaaa" in last
    assert "done" in last
    assert "1.0/1.0 kB" in last
    assert "fetching" in last
