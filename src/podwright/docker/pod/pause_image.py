"""The image of sandbox containers: catatonit and nothing else, imported into the engine without a registry.

catatonit's pause mode reaps what a pod's containers orphan in a PID namespace that they share. The image's tag is the
program's digest, so that a new catatonit makes a new image.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator

import msgspec

from podwright.base.errors import FailedPrecondition, Internal
from podwright.base.tasks import in_thread
from podwright.docker.engine import Engine
from podwright.docker.errors import NoSuchObject
from podwright.docker.naming import KIND
from podwright.linux.process import find_program

REPOSITORY = "podwright.local/pause"
PROGRAM = "catatonit"


class _Progress(msgspec.Struct):
    error: str = ""


async def require_pause_image(engine: Engine) -> str:
    """The image's name, once it is in the engine. Raises FailedPrecondition when catatonit is not installed."""
    content = await in_thread(_program)
    tag = hashlib.sha256(content).hexdigest()[:16]
    name = f"{REPOSITORY}:{tag}"
    try:
        await engine.read(f"/images/{name}/json")
    except NoSuchObject:
        await _import(engine, content, tag)
    return name


def _program() -> bytes:
    program = find_program(PROGRAM)
    if program is None:
        raise FailedPrecondition(f"a pod's sandbox container needs {PROGRAM}: install it (Debian: {PROGRAM})")
    return program.read_bytes()


async def _import(engine: Engine, program: bytes, tag: str) -> None:
    changes = ['ENTRYPOINT ["/pause", "-P"]', "USER 65535:65535", f"LABEL {KIND}=pause"]
    query = {"fromSrc": "-", "repo": REPOSITORY, "tag": tag, "changes": changes}
    headers = {"Content-Type": "application/x-tar"}
    async with engine.stream("POST", "/images/create", query, body=_layer(program), headers=headers) as answer:
        said = b"".join([chunk async for chunk in answer])
    for line in said.splitlines():
        if line.strip() and (words := msgspec.json.decode(line, type=_Progress).error):
            raise Internal(f"Docker can't import the image of sandbox containers: {words}")


async def _layer(program: bytes) -> AsyncIterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    yield buffer.getvalue()
