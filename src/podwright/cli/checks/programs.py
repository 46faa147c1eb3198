"""Programs: OCI runtimes and which of them is preferred, the monitor, and small helpers, with their versions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from podwright.base.errors import PodwrightError
from podwright.cli.checks.finding import Finding, fail, ok, warn
from podwright.config.schema import Config
from podwright.linux.process import find_program, run
from podwright.runtime.criu import Criu
from podwright.runtime.handlers import Handlers

_TIMEOUT_S = 5.0


def findings(config: Config) -> Iterator[Finding]:
    """All of this file."""
    names = ["crun", "runc", config.monitor.path, "catatonit", "unshare", "nsenter", "nft", "iptables"]
    versions = asyncio.run(ask(names))
    yield preferred(config)
    yield from runtimes(versions)
    yield needed("monitor", config.monitor.path, versions, "conmon")
    yield wanted("pause", "catatonit", versions, "pods that share a PID namespace fail", "catatonit")
    yield wanted("util-linux", "unshare", versions, "user namespaces can't be made", "util-linux")
    yield firewall(versions)
    yield checkpoints()


def beside_an_engine() -> Iterator[Finding]:
    """Those that are needed where a Docker Engine runs the containers."""
    versions = asyncio.run(ask(["catatonit", "nft", "iptables"]))
    yield needed("pause", "catatonit", versions, "catatonit")
    yield firewall(versions)


async def ask(names: list[str]) -> dict[str, str]:
    """The versions of those programs that are there, asked for all at once."""
    there = {name: path for name in names if (path := find_program(name)) is not None}
    answers = await asyncio.gather(*(version(path) for path in there.values()))
    return dict(zip(there, answers, strict=True))


async def version(program: Path) -> str:
    """The first number with dots that `--version` prints; empty when it prints none."""
    try:
        done = await run([program, "--version"], timeout_s=_TIMEOUT_S, check=False)
    except PodwrightError:
        return ""
    return number_in((done.stdout or done.stderr).decode(errors="replace"))


def number_in(text: str) -> str:
    """A version number in a text, with what follows it up to a blank."""
    found = re.search(r"\d+(\.\d+)+[^\s,)]*", text)
    return found[0] if found else ""


def preferred(config: Config) -> Finding:
    """Which runtime the empty handler means, and why. crun before runc: it takes a third of the time."""
    try:
        return ok("runtime", Handlers(config.runtime, config.state.run / "runtime").explain())
    except PodwrightError as error:
        return fail("runtime", str(error), "apt-get install crun, or set runtime.default")


def runtimes(versions: dict[str, str]) -> Iterator[Finding]:
    """crun and runc themselves."""
    for name in ("crun", "runc"):
        if name in versions:
            yield ok(name, versions[name] or "version unknown")
    if "crun" not in versions and "runc" in versions:
        yield warn("crun", "not installed: pods start, but more slowly", "apt-get install crun")


def needed(check: str, program: str, versions: dict[str, str], package: str) -> Finding:
    """A program without which no container starts."""
    if program in versions:
        return ok(check, f"{program} {versions[program]}".rstrip())
    return fail(check, f"{program} is not installed: no container can start", f"apt-get install {package}")


def wanted(check: str, program: str, versions: dict[str, str], without: str, package: str) -> Finding:
    """A program that some pods need."""
    if program in versions:
        return ok(check, f"{program} {versions[program]}".rstrip())
    return warn(check, f"{program} is not installed: {without}", f"apt-get install {package}")


def checkpoints() -> Finding:
    """Whether CRIU is here, and works with this kernel."""
    problem = asyncio.run(Criu().problem())
    if problem:
        return warn("criu", f"no checkpoints: {problem}", "")
    return ok("criu", "works with this kernel")


def firewall(versions: dict[str, str]) -> Finding:
    """What the bridge and portmap plugins write their rules with."""
    there = [f"{name} {versions[name]}".rstrip() for name in ("nft", "iptables") if name in versions]
    if there:
        return ok("firewall", ", ".join(there))
    return warn("firewall", "neither nft nor iptables: no host ports, no masquerading", "apt-get install nftables")
