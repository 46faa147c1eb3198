"""Seccomp as containers and their execs feel it, whether the runtime compiles the profile or gets it compiled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from podwright.runtime.base import COMPILED_SECCOMP_ANNOTATION
from tests.support.containers import Bench, container_config

pytestmark = pytest.mark.root

# A user namespace needs no capability, so only the filter can forbid it.
PROBE = "unshare -U true; echo $?; grep Seccomp: /proc/self/status"


async def _probe(bench: Bench, config: pb.ContainerConfig) -> tuple[list[str], list[str]]:
    """What the container's process and an exec in it find: the exit code of unshare, and the mode."""
    log = bench.directory / "log"
    config.command[:] = ["sh", "-c", f"({PROBE}) 2>/dev/null; echo end; sleep 100"]
    monitored = await bench.run(config=config, log=log)
    for _ in range(500):
        if "end" in log.read_text():
            break
        await bench.runtime.state(monitored.container_id)
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", f"({PROBE}) 2>/dev/null"))
    logged = [line.split(" ", 3)[3] for line in log.read_text().splitlines()]
    await bench.remove(monitored.container_id)
    return logged[:2], result.stdout.decode().splitlines()


async def test_default_profile(bench: Bench) -> None:
    for found in await _probe(bench, container_config("x")):
        assert found == ["1", "Seccomp:\t2"]


async def test_unconfined(bench: Bench) -> None:
    config = container_config("x")
    config.linux.security_context.seccomp.profile_type = pb.SecurityProfile.Unconfined
    for found in await _probe(bench, config):
        assert found == ["0", "Seccomp:\t0"]


async def test_profile_from_a_file(bench: Bench, tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["unshare"], "action": "SCMP_ACT_ERRNO"}]}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    config = container_config("x")
    config.linux.security_context.seccomp.profile_type = pb.SecurityProfile.Localhost
    config.linux.security_context.seccomp.localhost_ref = str(tmp_path / "profile.json")
    for found in await _probe(bench, config):
        assert found == ["1", "Seccomp:\t2"]


async def test_only_crun_gets_a_compiled_filter_and_it_is_what_crun_would_make(bench: Bench) -> None:
    spec = bench.build("x", container_config("true")).spec
    assert (COMPILED_SECCOMP_ANNOTATION in spec.annotations) == (bench.handler == "crun")
    if bench.handler != "crun":
        return
    programs = []
    for compiled in (True, False):
        if not compiled:
            bench.host = type(bench.host)(capabilities=bench.host.capabilities)
        monitored = await bench.create(container_config("true"))
        state = bench.directory / "runtime/crun" / monitored.container_id / "seccomp.bpf"
        programs.append(state.read_bytes())
    assert programs[0] == programs[1]
    assert len(programs[0]) > 1000
