"""When a failed request is made again."""

from __future__ import annotations

import pytest

from podwright.base.errors import PodwrightError
from podwright.registry.base import (
    AuthenticationFailed,
    BadRegistryAnswer,
    ManifestUnknown,
    RateLimited,
    RegistryUnavailable,
    Stalled,
)
from podwright.registry.retry import Backoff


def test_pauses_grow_and_end() -> None:
    backoff = Backoff(20)
    pauses = [backoff.next_pause(RegistryUnavailable("x")) for _ in range(20)]
    assert all(pause is not None and 0 < pause <= 8 for pause in pauses)
    assert (pauses[0] or 9) < (pauses[6] or 0)
    assert backoff.next_pause(RegistryUnavailable("x")) is None
    backoff.progressed()
    assert backoff.next_pause(RegistryUnavailable("x")) is not None


@pytest.mark.parametrize("error", [BadRegistryAnswer("x"), AuthenticationFailed("x"), ManifestUnknown("x")])
def test_what_stays_wrong_is_not_tried_again(error: PodwrightError) -> None:
    assert Backoff(5).next_pause(error) is None


def test_one_stall_is_forgiven() -> None:
    backoff = Backoff(5)
    assert backoff.next_pause(Stalled("x")) == 0.0
    assert backoff.next_pause(Stalled("x")) is None


def test_the_registrys_wish_is_granted_within_reason() -> None:
    assert Backoff(5).next_pause(RateLimited("x", 7.0)) == 7.0
    assert Backoff(5).next_pause(RateLimited("x", 31.0)) is None
    assert (Backoff(5).next_pause(RateLimited("x", 0.0)) or 0) > 0
    assert Backoff(0).next_pause(RateLimited("x", 1.0)) is None
