"""What is nspawn's own: the first step, the carrier, refusals by name, and what a kill -9 leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess  # noqa: TID251 - a program, as a person starts it
import sys
from pathlib import Path

import pytest

from podwright.container.spec.facts import SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.linux.pidfd import identify, wait_end
from podwright.runtime.base import RuntimeFailed
from tests.support import names
from tests.support.containers import Bench, container_config

pytestmark = pytest.mark.root


def record(bench: Bench, container_id: str) -> dict[str, object]:
    found = json.loads((bench.directory / "runtime/nspawn" / container_id / "state.json").read_text())
    assert isinstance(found, dict)
    return found


async def test_nothing_of_the_stage_or_of_nspawn_is_in_the_container(bench: Bench) -> None:
    log = bench.directory / "log"
    script = "cat /proc/self/mountinfo; ls /run /podwright-package /container; env; ls -l /proc/self/fd; ls -A /"
    before = sorted(path.name for path in bench.rootfs.iterdir())
    await bench.monitor.wait_exit(await bench.run("sh", "-c", script, log=log))
    said = log.read_text()
    for word in ("nspawn", "incoming", "systemd", "LISTEN", "container=", "socket:", "pyenv"):
        assert word not in said.replace("/sys/fs/cgroup/systemd", "").replace("name=systemd", ""), word
    assert "/podwright-package: No such file" in said
    assert sorted(path.name for path in bench.rootfs.iterdir()) == before


async def test_the_command_is_the_first_process(bench: Bench) -> None:
    log = bench.directory / "log"
    await bench.monitor.wait_exit(await bench.run("sh", "-c", "echo $$; kill -9 1; kill -9 $$; echo alive", log=log))
    assert [line.split(" ", 3)[3] for line in log.read_text().splitlines()] == ["1", "alive"]


async def test_a_pid_namespace_is_that_of_another_container(bench: Bench) -> None:
    """Named by what its monitor knows of it, the carrier, which is in the host's."""
    first = await bench.run("sleep", "1000")
    path = f"/proc/{first.process.pid}/ns/pid"
    sandbox = SandboxFacts(id="s" * 64, name="pod", namespace="ns", uid="uid", namespaces={"pid": path})
    config = container_config("sh", "-c", "cat /proc/1/cmdline; echo; kill -9 $$")
    config.linux.security_context.namespace_options.pid = pb.POD
    log = bench.directory / "log"
    second = await bench.create(config, log=log, sandbox=sandbox)
    await bench.runtime.start(second.container_id)
    assert (await bench.monitor.wait_exit(second)).exit_code == 137
    assert "sleep\x001000" in log.read_text()


async def test_what_cannot_be_done_is_refused_by_name_and_leaves_nothing(bench: Bench) -> None:
    sandbox = SandboxFacts(id="s" * 64, name="pod", namespace="ns", uid="uid", namespaces={"user": "/proc/1/ns/user"})
    with pytest.raises(RuntimeFailed, match="user namespaces are not supported"):
        await bench.create(container_config("true"), sandbox=sandbox)
    assert list((bench.directory / "runtime/nspawn").iterdir()) == []


async def test_a_killed_carrier_takes_the_container_with_it_at_delete(bench: Bench) -> None:
    monitored = await bench.run("sleep", "1000")
    details = record(bench, monitored.container_id)["details"]
    assert isinstance(details, dict)
    first = identify(details["first"][0])
    assert first is not None
    stage = (bench.directory / "runtime/nspawn" / monitored.container_id / "stage").stat()
    lock = Path(f"/run/systemd/nspawn/locks/inode-{stage.st_dev}:{stage.st_ino}")
    assert lock.exists()
    os.kill(monitored.process.pid, signal.SIGKILL)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 137
    await bench.runtime.delete(monitored.container_id, force=True)
    await asyncio.wait_for(wait_end(first), 10)
    assert not Path("/run/systemd/nspawn/propagate", details["machine"]).exists()
    assert not lock.exists()


async def test_the_death_of_nspawn_is_the_containers(bench: Bench) -> None:
    monitored = await bench.run("sleep", "1000")
    details = record(bench, monitored.container_id)["details"]
    assert isinstance(details, dict)
    status = Path(f"/proc/{details['first'][0]}/status").read_text()
    os.kill(int(status.partition("PPid:\t")[2].split()[0]), signal.SIGKILL)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 137


def test_run_hands_signals_on_and_ends_as_the_container_does(tmp_path: Path, rootfs: Path) -> None:
    """As a person runs it, without a monitor."""
    script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"
    process = {"args": ["sh", "-c", script], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]}
    config = {
        "ociVersion": "1.0.2", "process": process, "root": {"path": str(rootfs), "readonly": True},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}], "cgroupsPath": names.cgroup()},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    argv = [sys.executable, "-m", "podwright.nspawn", "--root", str(tmp_path / "state"), "run", "one"]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 3
    assert list((tmp_path / "state").iterdir()) == []
