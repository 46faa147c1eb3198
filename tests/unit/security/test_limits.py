"""Clamps, and one warning each."""

from __future__ import annotations

import resource

import pytest
from structlog.testing import capture_logs

from podwright.oci.runtime_spec import Rlimit
from podwright.security import limits


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_warned", set())


@pytest.mark.parametrize(
    ("asked", "floor", "given"),
    [(0, -1000, 0), (-998, -1000, -998), (-998, 0, 0), (-998, -500, -500), (1500, 0, 1000), (-5000, -1000, -1000),
     (0, 300, 300), (500, 300, 500)],
)  # fmt: skip
def test_oom_score_adj(asked: int, floor: int, given: int) -> None:
    assert limits.clamp_oom_score_adj(asked, floor) == given


def test_one_warning() -> None:
    with capture_logs() as logs:
        for _ in range(3):
            limits.clamp_oom_score_adj(-998, 0)
    assert len(logs) == 1


def test_floor() -> None:
    assert limits.oom_score_adj_floor(frozenset({"CAP_SYS_RESOURCE"})) == -1000
    assert limits.oom_score_adj_floor(frozenset()) >= -1000


def test_rlimits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (100, 1000))
    asked = Rlimit(type="RLIMIT_NOFILE", hard=5000, soft=5000)
    assert limits.clamp_rlimit(asked, may_raise=False) == Rlimit(type="RLIMIT_NOFILE", hard=1000, soft=1000)
    assert limits.clamp_rlimit(asked, may_raise=True) == asked
    low = Rlimit(type="RLIMIT_NOFILE", hard=10, soft=20)
    assert limits.clamp_rlimit(low, may_raise=False).soft == 10
    unknown = Rlimit(type="RLIMIT_NEW", hard=5000, soft=1)
    assert limits.clamp_rlimit(unknown, may_raise=False) == unknown
    monkeypatch.setattr(resource, "getrlimit", lambda number: (-1, resource.RLIM_INFINITY))
    assert limits.clamp_rlimit(asked, may_raise=False) == asked
