"""Who we are, to each registry: answers challenges, keeps tokens, and keeps them apart.

A token belongs to one registry, one repository and one set of credentials; a pull with other credentials, or none,
never sees it. Credentials go to the registry that they are for and to the token server it names, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from podwright.base.locks import KeyedLocks
from podwright.base.log import get_logger
from podwright.registry.auth import (
    Challenge,
    Token,
    TokenRequest,
    basic_header,
    parse_challenges,
    parse_token,
    pick_challenge,
    token_request,
)
from podwright.registry.base import AuthenticationFailed, Credentials, RegistryUnavailable
from podwright.registry.hosts import Endpoint
from podwright.registry.transport import Request, Transport, read_limited

if TYPE_CHECKING:
    import aiohttp


log = get_logger(__name__)
_ANSWER_LIMIT_BYTES = 256 * 1024
_KEPT_TOKENS = 4096

Key = tuple[str, str, str]


class Authorizer:
    """Tokens by (endpoint, repository, credentials)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._tokens: dict[Key, Token] = {}
        self._locks = KeyedLocks()

    def header(self, endpoint: Endpoint, repository: str, credentials: Credentials | None) -> str:
        """The Authorization header that a registry accepted before, or "": then it has to ask first."""
        if credentials and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        token = self._tokens.get(_key(endpoint, repository, credentials))
        return token.header if token and token.expires_at > time.monotonic() else ""

    async def authorize(
        self,
        endpoint: Endpoint,
        repository: str,
        credentials: Credentials | None,
        challenges: Sequence[str],
        *,
        refused: str,
    ) -> str:
        """The header that answers a 401. `challenges`: its WWW-Authenticate headers; `refused`: what it refused.

        Raises AuthenticationFailed, RegistryUnavailable when the token server doesn't answer.
        """
        key = _key(endpoint, repository, credentials)
        async with self._locks.hold(key):
            present = self.header(endpoint, repository, credentials)
            if present and present != refused:
                return present
            challenge = pick_challenge(parse_challenges(challenges))
            if refused or challenge is None:
                self._tokens.pop(key, None)
            if challenge is None or (credentials and credentials.registry_token):
                raise refusal(endpoint.host, repository, credentials)
            token = await self._answer(endpoint, repository, credentials, challenge)
            if token.header == refused:
                raise refusal(endpoint.host, repository, credentials)
            self._keep(key, token)
            return token.header

    async def _answer(
        self, endpoint: Endpoint, repository: str, credentials: Credentials | None, challenge: Challenge
    ) -> Token:
        if challenge.scheme == "basic":
            if credentials is None or not credentials.username:
                raise refusal(endpoint.host, repository, credentials)
            return Token(basic_header(credentials))
        encrypted = endpoint.url.startswith("https:")
        request = token_request(challenge, repository, credentials, registry=endpoint.host, encrypted=encrypted)
        return await self._fetch(endpoint, repository, credentials, request)

    async def _fetch(
        self, endpoint: Endpoint, repository: str, credentials: Credentials | None, asked: TokenRequest
    ) -> Token:
        realm = asked.url.partition("?")[0]
        request = Request(
            "POST" if asked.form else "GET", asked.url, tls=endpoint.tls.anonymous(), form=asked.form,
            secrets=(("Authorization", asked.authorization),) if asked.authorization else (),
            follow=asked.form is None,
        )  # fmt: skip
        async with self._transport.open(request) as response:
            if response.status in (400, 401, 403):
                raise refusal(endpoint.host, repository, credentials, f"its token server {realm}")
            if response.status != 200:
                raise RegistryUnavailable(f"token server {realm} of {endpoint.host} answers {response.status}")
            data = await read_limited(response, _ANSWER_LIMIT_BYTES, f"token server {realm}")
        log.debug("got a registry token", registry=endpoint.host, repository=repository, realm=realm)
        return parse_token(data, now=time.monotonic(), realm=realm)

    def _keep(self, key: Key, token: Token) -> None:
        now = time.monotonic()
        if len(self._tokens) >= _KEPT_TOKENS:
            self._tokens = {key: token for key, token in self._tokens.items() if token.expires_at > now}
        while len(self._tokens) >= _KEPT_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[key] = token


def _key(endpoint: Endpoint, repository: str, credentials: Credentials | None) -> Key:
    return endpoint.url, repository, credentials.fingerprint if credentials else ""


def refusal(host: str, repository: str, credentials: Credentials | None, by: str = "") -> AuthenticationFailed:
    """The error for a 401 or 403: who was asked, for what, as whom. Registries hide absence behind it."""
    who = f"user {credentials.username!r}" if credentials and credentials.username else "the token that was given"
    whom = who if credentials else "anonymous access"
    mend = "check the pull secret" if credentials else "it does not exist, or needs a pull secret"
    return AuthenticationFailed(f"registry {host}{f', {by},' if by else ''} refuses {whom} for {repository}: {mend}")


def challenges_of(response: aiohttp.ClientResponse) -> list[str]:
    """All WWW-Authenticate headers of a response."""
    return list(response.headers.getall("WWW-Authenticate", []))
