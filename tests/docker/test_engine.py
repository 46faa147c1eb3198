"""The client of the engine against a real one: versions, refusals, streams, and connections that are taken over."""

from __future__ import annotations

from podwright.docker.engine import Engine
from tests.support.dockerd import Dockerd


async def test_smoke(dockerd: Dockerd) -> None:
    engine = Engine(dockerd.socket)
    await engine.connect()
    print(engine.version, engine.api_version)
    await engine.close()
