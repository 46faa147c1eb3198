"""One-time tokens: what ties a URL that an RPC returned to the request it was returned for.

Whoever has the token gets the streams, so it can't be guessed, works once and not for long (cri-streaming has the same
numbers: a minute, a thousand).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from podwright.base.errors import ResourceExhausted
from podwright.streaming.base import Request

_TOKEN_BYTES = 18


class Tokens:
    """Outstanding tokens, oldest first."""

    def __init__(self, limit: int, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._lifetime_s, self._clock = limit, lifetime_s, clock
        self._requests: dict[str, tuple[float, Request]] = {}

    def __len__(self) -> int:
        self._drop_expired()
        return len(self._requests)

    def issue(self, request: Request) -> str:
        """A token for `request`. Raises ResourceExhausted when too many are outstanding."""
        self._drop_expired()
        if len(self._requests) >= self._limit:
            raise ResourceExhausted(
                f"{self._limit} streaming URLs are waiting for their clients; each is good for {self._lifetime_s:g} s"
            )
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._requests[token] = (self._clock() + self._lifetime_s, request)
        return token

    def redeem(self, token: str) -> Request | None:
        """The request that `token` stands for, once; None for a token that isn't good (any more)."""
        self._drop_expired()
        _, request = self._requests.pop(token, (0.0, None))
        return request

    def _drop_expired(self) -> None:
        now = self._clock()
        # In order of issue is in order of expiry.
        while self._requests and next(iter(self._requests.values()))[0] <= now:
            del self._requests[next(iter(self._requests))]
