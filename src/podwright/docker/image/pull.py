"""PullImage by way of the engine: whose credentials, how long without progress, and what failed.

The engine does the work and shares layers among pulls that run at the same time; who may pull is asked of the registry
for each pull, with the credentials of that pull alone. Calls with the same reference and the same credentials share
one. There is no deadline: a pull ends when it brings nothing any more, or when the last who asked goes away, which
ends the engine's request.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

import msgspec

from podwright.base.errors import InvalidArgument, NotFound, PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.docker.engine import Engine
from podwright.docker.errors import EngineUnavailable
from podwright.docker.image.messages import MessageReader, PullStory
from podwright.docker.image.store import EngineImages
from podwright.docker.image.words import pull_failure
from podwright.image.joined import Joined
from podwright.image.model import ImageRecord
from podwright.image.progress import ProgressBoard, PullTracker
from podwright.image.tracked import tracked
from podwright.oci.digest import is_digest
from podwright.oci.reference import Reference, parse_reference
from podwright.registry.base import Credentials, Stalled
from podwright.registry.credentials import NodeCredentials

log = get_logger(__name__)


class EnginePuller:
    """All pulls of a daemon. `stall_timeout_s`: how long a download may bring nothing."""

    def __init__(
        self, engine: Engine, images: EngineImages, node_credentials: NodeCredentials, board: ProgressBoard,
        tasks: Tasks, *, stall_timeout_s: float, log_interval_s: float,
    ) -> None:  # fmt: skip
        self._engine, self._images, self._node_credentials = engine, images, node_credentials
        self._board, self._tasks = board, tasks
        self._stall_timeout_s, self._log_interval_s = stall_timeout_s, log_interval_s
        self._pulls: Joined[ImageRecord] = Joined(tasks)

    async def pull(self, name: str, credentials: Credentials | None) -> ImageRecord:
        """The image that `name` means now. Cancelled when all who asked for it have gone away."""
        if is_digest(name):
            raise InvalidArgument(f"{name} is an image id, not a name that can be pulled")
        reference = parse_reference(name)
        key = (str(reference), credentials.fingerprint if credentials else "")
        return await self._pulls.join(key, f"pull {reference}", lambda: self._tracked(reference, credentials))

    async def _tracked(self, reference: Reference, credentials: Credentials | None) -> ImageRecord:
        return await tracked(
            reference, lambda tracker: self._pull(reference, credentials, tracker),
            board=self._board, tasks=self._tasks, log_interval_s=self._log_interval_s,
        )  # fmt: skip

    async def _pull(self, reference: Reference, given: Credentials | None, tracker: PullTracker) -> ImageRecord:
        headers = auth_header(await self._credentials(reference, given))
        story = PullStory(tracker)
        try:
            if reference.digest is not None:
                await self._require_access(reference, headers)
            await self._follow(reference, headers, story)
        except (EngineUnavailable, Stalled):
            raise
        except PodwrightError as error:
            raise pull_failure(reference, str(error).removeprefix("Docker: ")) from error
        if story.error:
            raise pull_failure(reference, story.error)
        return await self._pulled(reference, story)

    async def _require_access(self, reference: Reference, headers: Mapping[str, str]) -> None:
        """The engine asks no registry for a manifest that it has; who may have it is asked here."""
        await self._engine.get(f"/distribution/{_engine_name(reference)}/json", msgspec.Raw, headers=headers)

    async def _follow(self, reference: Reference, headers: Mapping[str, str], story: PullStory) -> None:
        """Read what the engine tells to its end."""
        query = {"fromImage": reference.name, "tag": reference.selector}
        reader, loop = MessageReader(), asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._stall_timeout_s) as patience:
                async with self._engine.stream("POST", "/images/create", query, headers=headers) as chunks:
                    async for chunk in chunks:
                        for message in reader.feed(chunk):
                            story.take(message)
                        patience.reschedule(None if story.unpacking else loop.time() + self._stall_timeout_s)
        except TimeoutError as error:
            what = f"layers {story.waiting_for}" if story.waiting_for else "the manifest"
            raise Stalled(
                f"{reference}: Docker has brought nothing of {what} for {self._stall_timeout_s:g} s"
            ) from error

    async def _pulled(self, reference: Reference, story: PullStory) -> ImageRecord:
        """The very image that came, even if its tag has moved on meanwhile."""
        names = [reference.with_digest(story.digest)] if story.digest else []
        for name in (*names, str(reference)):
            if (record := await self._images.find(name)) is not None:
                return record
        raise NotFound(f"{reference} was removed right after it had been pulled")

    async def _credentials(self, reference: Reference, given: Credentials | None) -> Credentials | None:
        """Those of the request if they are for this registry; without any, the node's own."""
        if given is None or given.empty:
            return await self._node_credentials.lookup(reference.domain, reference.path)
        if given.host in ("", reference.domain.lower()):
            return given
        log.warning("credentials are for another registry", registry=reference.domain, address=given.server_address)
        return None


def auth_header(credentials: Credentials | None) -> dict[str, str]:
    """X-Registry-Auth, base64url of JSON. Docker Engine API v1.41, "Authentication"."""
    if credentials is None or credentials.empty:
        return {}
    fields = {
        "username": credentials.username, "password": credentials.password,
        "identitytoken": credentials.identity_token, "registrytoken": credentials.registry_token,
    }  # fmt: skip
    document = msgspec.json.encode({name: value for name, value in fields.items() if value})
    return {"X-Registry-Auth": base64.urlsafe_b64encode(document).decode()}


def _engine_name(reference: Reference) -> str:
    return reference.with_digest(reference.digest) if reference.digest else reference.tagged
