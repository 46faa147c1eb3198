"""The few things that are done to containers of the engine, each safe to be repeated after a crash.

Containers are named by us (`naming`), so a name that is taken is taken by an earlier try of the same call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from podwright.base.errors import DeadlineExceeded, FailedPrecondition
from podwright.base.log import get_logger
from podwright.docker.answers import Created, Inspected, Listed
from podwright.docker.engine import Engine
from podwright.docker.errors import Conflict, NoSuchObject
from podwright.docker.naming import INSTANCE

log = get_logger(__name__)

_REMOVAL_TIMEOUT_S, _REMOVAL_POLL_S = 60.0, 0.05


async def create(engine: Engine, name: str, body: Mapping[str, object]) -> str:
    """Create a container: its id. What an earlier try left under the name is taken away first."""
    try:
        created = await engine.post("/containers/create", Created, body, {"name": name})
    except Conflict:
        log.info("a container that an earlier try has left is made anew", name=name)
        await remove(engine, name)
        created = await engine.post("/containers/create", Created, body, {"name": name})
    for warning in created.warnings or ():
        log.warning("Docker warns", container=name, warning=warning)
    return created.id


async def start(engine: Engine, name: str) -> None:
    """Start; one that runs already is success."""
    await engine.do("POST", f"/containers/{name}/start")


async def inspect(engine: Engine, name: str) -> Inspected | None:
    """What the engine knows of it; None when there is no such."""
    try:
        return await engine.get(f"/containers/{name}/json", Inspected)
    except NoSuchObject:
        return None


async def kill(engine: Engine, name: str, signal: int) -> None:
    """Send a signal to its first process. One that doesn't run, or is gone: success. A paused one is thawed first,
    since no signal gets at it."""
    try:
        await engine.do("POST", f"/containers/{name}/kill", query={"signal": signal})
    except NoSuchObject:
        return
    except Conflict as refused:
        if "paused" not in str(refused).lower():
            return  # it does not run
        await resume(engine, name)
        await kill(engine, name, signal)


async def resume(engine: Engine, name: str) -> None:
    """Thaw. Not paused, or gone: success."""
    try:
        await engine.do("POST", f"/containers/{name}/unpause")
    except (NoSuchObject, FailedPrecondition):
        return
    except Exception as error:  # 20.10 answers 500 to "not paused"
        log.debug("a container can't be thawed", name=name, error=str(error))


async def remove(engine: Engine, name: str) -> None:
    """Kill and remove it with its anonymous volumes. Gone: success. Removed by somebody else this moment: waits."""
    deadline = asyncio.get_running_loop().time() + _REMOVAL_TIMEOUT_S
    while True:
        try:
            await engine.do("DELETE", f"/containers/{name}", query={"force": True, "v": True})
            return
        except NoSuchObject:
            return
        except Conflict as busy:
            if asyncio.get_running_loop().time() > deadline:
                raise DeadlineExceeded(f"container {name} can't be removed: {busy}") from busy
            await asyncio.sleep(_REMOVAL_POLL_S)


async def ours(engine: Engine, instance: str) -> AsyncIterator[Listed]:
    """All containers that this root's daemon has made, running or not; nobody else's."""
    query = {"all": True, "filters": {"label": [f"{INSTANCE}={instance}"]}}
    for listed in await engine.get("/containers/json", list[Listed], query):
        yield listed
