"""The front, as its callers see it, with a runtime whose containers are plain processes."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess  # noqa: TID251 - the front is a program
import sys
from pathlib import Path
from typing import Any

import pytest

TERM_TRAP = "trap 'exit 3' TERM; : >started; while :; do sleep 0.02; done"


class Runtime:
    """The program, called as a monitor does, with a bundle."""

    def __init__(self, directory: Path) -> None:
        self.root, self.bundle, self.log = directory / "root", directory / "bundle", directory / "log"
        (self.bundle / "rootfs").mkdir(parents=True)

    def config(self, *command: str, **members: Any) -> None:
        process = {"args": command, "cwd": "/", "env": [f"PATH={os.environ['PATH']}"], "user": {}}
        document = {"ociVersion": "1.0.2", "process": process, "root": {"path": "rootfs"}, **members}
        document["process"] = process | members.get("process", {})
        (self.bundle / "config.json").write_text(json.dumps(document))

    def __call__(self, *words: str, code: int = 0, **options: Any) -> str:
        """What it prints."""
        argv = [sys.executable, "-m", "tests.support.plain_runtime", "--root", str(self.root), "--log", str(self.log)]
        # To a file: a container holds its streams longer than the program that creates it.
        with (self.root.parent / "out").open("w+b") as out:
            done = subprocess.run(
                [*argv, "--log-format", "json", *words], stdout=out, stderr=out, check=False, **options
            )
            out.seek(0)
            said = out.read().decode()
        assert done.returncode == code, said
        return said

    def create(self, *words: str, code: int = 0) -> str:
        return self("create", "--bundle", str(self.bundle), *words, "one", code=code)

    def state(self) -> dict[str, Any]:
        found = json.loads(self("state", "one"))
        assert isinstance(found, dict)
        return found

    def ends(self, pid: int) -> None:
        pidfd = os.pidfd_open(pid)
        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path)


def test_a_life(runtime: Runtime, tmp_path: Path) -> None:
    runtime.config("sh", "-c", f"cd {tmp_path}; {TERM_TRAP}", annotations={"a": "b"})
    runtime.create("--pid-file", str(tmp_path / "pid"))
    state = runtime.state()
    assert (state["status"], state["bundle"], state["annotations"]) == ("created", str(runtime.bundle), {"a": "b"})
    assert int((tmp_path / "pid").read_text()) == state["pid"]
    assert not (tmp_path / "started").exists()
    assert "exists already" in runtime.create(code=1)

    runtime("start", "one")
    assert "it is running" in runtime("start", "one", code=1)
    assert "it is running" in runtime("delete", "one", code=1)
    runtime("pause", "one")
    assert runtime.state()["status"] == "paused"
    runtime("resume", "one")
    runtime("update", "--resources", "-", "one", input=b'{"memory":{"limit":5}}')
    assert json.loads((runtime.root / "one/state.json").read_text())["details"]["memory"] == 5
    assert runtime("exec", "one", "sh", "-c", "echo hi; exit 5", code=5) == "hi\n"
    assert json.loads(runtime("ps", "--format", "json", "one")) == [state["pid"]]
    assert json.loads(runtime("events", "--stats", "one"))["id"] == "one"
    assert [row["status"] for row in json.loads(runtime("list", "--format", "json"))] == ["running"]

    while not (tmp_path / "started").exists():
        select.select([], [], [], 0.01)
    runtime("kill", "one")
    runtime.ends(state["pid"])
    assert (runtime.state()["status"], runtime.state()["pid"]) == ("stopped", 0)
    assert "not running" in runtime("kill", "one", "KILL", code=1)
    assert "it is stopped" in runtime("exec", "one", "true", code=1)
    runtime("delete", "one")
    assert "does not exist" in runtime("state", "one", code=1)
    runtime("delete", "--force", "one")
    assert runtime("list", "--quiet") == ""


def test_errors_are_told_as_callers_expect(runtime: Runtime) -> None:
    said = runtime("state", "nope", code=1)
    assert said == "plain: container 'nope' does not exist\n"
    (line,) = runtime.log.read_text().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["msg"]) == ("error", "container 'nope' does not exist")
    assert entry["time"].endswith("Z")


@pytest.mark.parametrize("words", [("checkpoint", "one"), ("frobnicate",), ("state", "a/b"), ("state",)])
def test_what_is_not_offered(runtime: Runtime, words: tuple[str, ...]) -> None:
    assert runtime(*words, code=1)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "no configuration"),
        ('{"root":{"path":"rootfs"}}', "process"),
        ('{"root":{"path":"nope"},"process":{"args":["x"],"cwd":"/","user":{}}}', "nope is no directory"),
        ('{"root":{"path":"rootfs"},"process":{"args":[],"cwd":"/","user":{}}}', "process.args"),
        ('{"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"a","user":{}}}', "process.cwd"),
        ('{"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"/","user":{}},"hostname":"h"}', "hostname"),
        (
            (
                '{"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"/","user":{}},'
                '"hooks":{"startContainer":[{"path":"/x"}]}}'
            ),
            "hooks.startContainer",
        ),
        (
            '{"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"/","user":{},"terminal":true}}',
            "--console-socket",
        ),
    ],
)
def test_bad_bundles_leave_nothing(runtime: Runtime, config: str, words: str) -> None:
    (runtime.bundle / "config.json").write_text(config)
    assert words in runtime.create(code=1)
    assert not runtime.root.exists()


def test_a_creation_that_fails_is_taken_back(runtime: Runtime) -> None:
    runtime.config("true", annotations={"fail": ""})
    assert "told to fail" in runtime.create(code=1)
    assert list(runtime.root.iterdir()) == []


def test_a_creation_that_was_killed_is_deleted(runtime: Runtime) -> None:
    (runtime.root / "one").mkdir(parents=True)
    assert runtime.state()["status"] == "stopped"
    runtime("delete", "one")
    assert list(runtime.root.iterdir()) == []


def test_hooks(runtime: Runtime, tmp_path: Path) -> None:
    def hook(name: str) -> list[dict[str, Any]]:
        return [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >{tmp_path}/{name}"]}]

    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    runtime.config("sleep", "1000", hooks={kind: hook(kind) for kind in kinds})
    runtime.create()
    runtime("start", "one")
    runtime("delete", "--force", "one")
    told = {kind: json.loads((tmp_path / kind).read_text())["status"] for kind in kinds}
    assert told == {"prestart": "created", "createRuntime": "created", "poststart": "running", "poststop": "stopped"}


def test_a_hook_that_fails_ends_the_creation(runtime: Runtime) -> None:
    runtime.config("true", hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 1"]}]})
    assert "hooks.createRuntime: sh: exit status 1: no" in runtime.create(code=1)
    assert list(runtime.root.iterdir()) == []


def test_run_ends_as_its_container_does(runtime: Runtime) -> None:
    runtime.config("sh", "-c", "kill -9 $$")
    runtime("run", "--bundle", str(runtime.bundle), "one", code=137)
    assert list(runtime.root.iterdir()) == []


def test_the_terminal_goes_to_the_console_socket(runtime: Runtime, tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    runtime.config("sh", "-c", "tty; exec sleep 1000", process={"terminal": True})
    directory_fd = os.open(directory, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory_fd}/console")
        os.close(directory_fd)
        listener.listen()
        runtime.create("--console-socket", str(directory / "console"))
        connection, _ = listener.accept()
        with connection:
            name, (manager,), _, _ = socket.recv_fds(connection, 100, 1)
    runtime("start", "one")
    assert os.read(manager, 100).split() == [name]
    os.close(manager)
    runtime("delete", "--force", "one")


def test_version_and_help(runtime: Runtime) -> None:
    assert runtime("--version").split()[:3] == ["plain", "version", "1"]
    assert "create [--bundle …]" in runtime("--help")
    assert json.loads(runtime("features"))["ociVersionMax"] == "1.0.2"
