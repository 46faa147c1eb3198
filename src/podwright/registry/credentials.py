"""The node's own registry credentials: auth.json, Docker's config.json, and the credential helpers they name.

Used for pulls that bring no credentials, and for mirrors, which are never given those of the image's registry.
containers-auth.json(5); https://docs.docker.com/reference/cli/docker/login/, "Credential stores", "Credential helpers".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux.process import find_program, run
from podwright.registry.base import Credentials, make_credentials

_HELPER_TIMEOUT_S = 30.0
# docker.io's credentials are kept under the address of its first registry.
_ALIASES = {
    "docker.io": ("docker.io", "index.docker.io/v1", "index.docker.io", "registry-1.docker.io"),
}
_NOT_FOUND = "credentials not found"


class _Entry(msgspec.Struct):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identity_token: str | None = msgspec.field(default=None, name="identitytoken")
    registry_token: str | None = msgspec.field(default=None, name="registrytoken")


class _AuthFile(msgspec.Struct):
    auths: dict[str, _Entry] | None = None
    helpers: dict[str, str] | None = msgspec.field(default=None, name="credHelpers")
    store: str | None = msgspec.field(default=None, name="credsStore")


class _HelperAnswer(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


class NodeCredentials:
    """Looks credentials up in files that are read anew each time; they are small, and change under us."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)

    async def lookup(self, domain: str, repository: str) -> Credentials | None:
        """Credentials for `repository` at `domain` (host, host:port, "docker.io"), the most specific key first.

        Raises InvalidArgument for a file that can't be understood, FailedPrecondition for a helper that fails.
        """
        for file in self._files:
            content = _read(file)
            if content is None:
                continue
            if found := await self._in_file(file, content, domain, repository):
                return found
        return None

    async def _in_file(self, file: Path, content: _AuthFile, domain: str, repository: str) -> Credentials | None:
        """Docker's order: a helper for the very registry, the file, the helper for all."""
        for key in _keys(domain, repository):
            if helper := (content.helpers or {}).get(key):
                return await _ask_helper(helper, key)
        entries = {_normalised(key): entry for key, entry in (content.auths or {}).items()}
        for key in _keys(domain, repository):
            if (entry := entries.get(key)) and (found := _from_entry(file, key, entry)):
                return found
        if content.store:
            name = "https://index.docker.io/v1/" if domain == "docker.io" else domain
            return await _ask_helper(content.store, name)
        return None


def _read(file: Path) -> _AuthFile | None:
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidArgument(f"credentials file {file} can't be read: {error.strerror}") from error
    try:
        return msgspec.json.decode(data, type=_AuthFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"credentials file {file}: {error}") from None


def _keys(domain: str, repository: str) -> Iterator[str]:
    """`host/a/b`, `host/a`, `host`: the more specific the earlier."""
    hosts = _ALIASES.get(domain, (domain,))
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield f"{hosts[0]}/{'/'.join(parts[:count])}"
    yield from hosts


def _normalised(key: str) -> str:
    """`https://host/v1/` and the like, as old clients wrote them, to `host`; docker.io's own stays recognisable."""
    plain = re.sub(r"^https?://", "", key.strip()).rstrip("/")
    return plain if plain.startswith("index.docker.io") else re.sub(r"^([^/]+)/v[12]$", r"\1", plain)


def _from_entry(file: Path, key: str, entry: _Entry) -> Credentials | None:
    try:
        return make_credentials(
            username=entry.username or "", password=entry.password or "", auth=entry.auth or "",
            identity_token=entry.identity_token or "", registry_token=entry.registry_token or "",
        )  # fmt: skip
    except InvalidArgument as error:
        raise InvalidArgument(f"credentials file {file}: {key}: {error}") from None


async def _ask_helper(helper: str, server: str) -> Credentials | None:
    """`docker-credential-HELPER get`: the server's name on stdin, JSON on stdout."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        raise InvalidArgument(f"credential helper {helper!r} is no name of a program")
    program = find_program(f"docker-credential-{helper}")
    if program is None:
        raise FailedPrecondition(f"credential helper docker-credential-{helper} for {server} is not installed")
    # Helpers find their own configuration by HOME, AWS_PROFILE and the like.
    done = await run([program, "get"], stdin=server.encode(), env=os.environ, timeout_s=_HELPER_TIMEOUT_S, check=False)
    if done.returncode != 0:
        if _NOT_FOUND in done.stdout.decode(errors="replace"):
            return None
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise FailedPrecondition(f"{program.name} for {server} fails with status {done.returncode}: {words[-500:]}")
    try:
        answer = msgspec.json.decode(done.stdout, type=_HelperAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FailedPrecondition(f"{program.name} for {server} answers something that is no credentials") from None
    if answer.username == "<token>":
        return make_credentials(identity_token=answer.secret)
    return make_credentials(username=answer.username, password=answer.secret)
