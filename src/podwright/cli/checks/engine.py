"""The Docker Engine, where it is the backend: whether it answers, speaks our API, and is set up as pods need it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec

from podwright.base.errors import PodwrightError
from podwright.cli.checks.finding import Finding, fail, ok, warn
from podwright.docker.engine import Engine
from podwright.docker.errors import EngineTooOld

_TIMEOUT_S = 10.0


class Facts(msgspec.Struct, frozen=True):
    """What GET /info says of it, as far as it matters here."""

    version: str = msgspec.field(default="", name="ServerVersion")
    driver: str = msgspec.field(default="", name="Driver")
    cgroup_driver: str = msgspec.field(default="", name="CgroupDriver")
    live_restore: bool = msgspec.field(default=False, name="LiveRestoreEnabled")
    runtimes: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict, name="Runtimes")
    log_drivers: dict[str, list[str] | None] = msgspec.field(default_factory=dict, name="Plugins")


def findings(socket: Path, cgroup_naming: str) -> Iterator[Finding]:
    """All of this file. `cgroup_naming`: who makes cgroups by our settings, systemd or cgroupfs."""
    try:
        facts, api = asyncio.run(ask(socket))
    except EngineTooOld as error:
        yield fail("docker", str(error), "install a newer Docker Engine")
        return
    except PodwrightError as error:
        yield fail("docker", str(error), "start it, or name its socket: docker.socket")
        return
    yield ok("docker", f"{facts.version}, API {api} at {socket}")
    yield from judge(facts, cgroup_naming)


async def ask(socket: Path) -> tuple[Facts, str]:
    """What the engine says of itself, and the API version that we speak with it."""
    engine = Engine(socket, timeout_s=_TIMEOUT_S)
    try:
        await engine.connect()
        major, minor = engine.api_version
        return await engine.get("/info", Facts), f"{major}.{minor}"
    finally:
        await engine.close()


def judge(facts: Facts, cgroup_naming: str) -> Iterator[Finding]:
    """What its settings mean for pods."""
    if facts.cgroup_driver == cgroup_naming:
        yield ok("docker cgroups", cgroup_naming)
    else:
        message = f"Docker makes cgroups by {facts.cgroup_driver}, Podwright by {cgroup_naming}: it won't start"
        yield fail("docker cgroups", message, f'cgroup.driver = "{facts.cgroup_driver}", or dockerd\'s exec-opts')
    if "json-file" not in (facts.log_drivers.get("Log") or ["json-file"]):
        yield fail("docker logs", "there is no log driver json-file: containers have no log", "install Docker's own")
    if facts.driver == "overlay2":
        yield ok("docker storage", facts.driver)
    else:
        message = f"{facts.driver}: no figures of writable layers, and no image volumes"
        yield warn("docker storage", message, 'storage-driver: "overlay2" in daemon.json')
    if facts.live_restore:
        yield ok("docker restarts", "containers outlive them")
    else:
        yield warn("docker restarts", "a restart of Docker ends all pods", '"live-restore": true in daemon.json')
    yield ok("docker runtimes", ", ".join(sorted(name for name in facts.runtimes if "." not in name)))
