"""Registry authorisation as data: challenges, token requests, token answers. No I/O.

RFC 9110 section 11 (WWW-Authenticate), RFC 6750 (Bearer), and the token protocol of registries:
https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import msgspec

from podwright.registry.base import AuthenticationFailed, Credentials

CLIENT_ID = "podwright"
# The token protocol's default when the answer names no time; a little is taken off for the way.
DEFAULT_LIFETIME_S = 60
_MARGIN_S = 5.0
_HEADER_LIMIT = 16 * 1024

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?=\s|,|$)")
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[\s,]|$)')
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|$))")


@dataclass(frozen=True)
class Challenge:
    """One way to prove oneself. `scheme` and the parameters' names are lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenRequest:
    """How to ask for a token. `form` set: POST it; else GET. `authorization` is for the realm alone."""

    url: str
    authorization: str = ""
    form: dict[str, str] | None = None


@dataclass(frozen=True)
class Token:
    """A value for the Authorization header, and until when (monotonic clock) it is good."""

    header: str
    expires_at: float = float("inf")


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of all WWW-Authenticate headers; what can't be understood is left out."""
    return [challenge for header in headers for challenge in _parse_header(header[:_HEADER_LIMIT])]


def _parse_header(header: str) -> Iterator[Challenge]:
    at = 0
    while scheme := _SCHEME.match(header, at):
        at = scheme.end()
        parameters: dict[str, str] = {}
        if (token68 := _TOKEN68.match(header, at)) and not _PARAMETER.match(header, at):
            at = token68.end()
        while parameter := _PARAMETER.match(header, at):
            name, quoted, plain = parameter.groups()
            parameters.setdefault(name.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
            at = parameter.end()
        yield Challenge(scheme[1].lower(), parameters)


def pick_challenge(challenges: Iterable[Challenge]) -> Challenge | None:
    """Bearer before Basic: where both are offered, the password goes to the token server alone."""
    found = {challenge.scheme: challenge for challenge in reversed(list(challenges))}
    return found.get("bearer") or found.get("basic")


def basic_header(credentials: Credentials) -> str:
    """RFC 7617, in UTF-8."""
    pair = f"{credentials.username}:{credentials.password}".encode("utf-8", "surrogateescape")
    return "Basic " + base64.b64encode(pair).decode()


def pull_scope(repository: str) -> str:
    return f"repository:{repository}:pull"


def token_request(
    challenge: Challenge, repository: str, credentials: Credentials | None, *, registry: str, encrypted: bool
) -> TokenRequest:
    """The request for a token to pull `repository`. `encrypted`: the registry itself was asked over TLS.

    Raises AuthenticationFailed for a realm that no password should be sent to: none, one that is no http URL, or one
    in plain text named by a registry that isn't.
    """
    realm = challenge.parameters.get("realm", "")
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise AuthenticationFailed(f"registry {registry} names no usable token server: realm {realm[:200]!r}")
    if credentials and encrypted and parts.scheme == "http":
        raise AuthenticationFailed(
            f"registry {registry} wants the password sent to {realm[:200]} without encryption; that is not done"
        )
    service = challenge.parameters.get("service", "")
    scope = challenge.parameters.get("scope") or pull_scope(repository)
    if credentials and credentials.identity_token:
        form = {
            "grant_type": "refresh_token", "refresh_token": credentials.identity_token,
            "service": service, "scope": scope, "client_id": CLIENT_ID,
        }  # fmt: skip
        return TokenRequest(realm, form=form)
    query = [("service", service)] if service else []
    query += [("scope", one) for one in scope.split(" ") if one]
    if credentials:
        query += [("account", credentials.username)]
    url = realm + ("&" if parts.query else "?") + urlencode(query)
    return TokenRequest(url, authorization=basic_header(credentials) if credentials else "")


class _Answer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


def parse_token(data: bytes, *, now: float, realm: str) -> Token:
    """The token in a token server's answer. Raises AuthenticationFailed; its text never shows the answer."""
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AuthenticationFailed(f"token server {realm} answers something that is no token: {error}") from None
    token = answer.token or answer.access_token or ""
    # Visible ASCII alone may stand in a header.
    if not re.fullmatch(r"[!-~]+", token):
        raise AuthenticationFailed(f"token server {realm} answers without a token")
    lifetime = max(answer.expires_in or DEFAULT_LIFETIME_S, 10.0)
    return Token(f"Bearer {token}", now + lifetime - _MARGIN_S)
