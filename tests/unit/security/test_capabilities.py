"""What is asked, what is given, and what the daemon does not have."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from podwright.base.errors import InvalidArgument
from podwright.linux.capability_sets import CAPABILITY_NAMES
from podwright.oci.runtime_spec import Capabilities
from podwright.security import capabilities
from podwright.security.capabilities import DEFAULT_CAPABILITIES, container_capabilities

ALL = frozenset(CAPABILITY_NAMES)


def granted(
    add: Sequence[str] = (), drop: Sequence[str] = (), ambient: Sequence[str] = (), *,
    privileged: bool = False, available: frozenset[str] = ALL,
) -> Capabilities:  # fmt: skip
    return container_capabilities(add=add, drop=drop, add_ambient=ambient, privileged=privileged, available=available)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], DEFAULT_CAPABILITIES),
        (["NET_ADMIN"], [], DEFAULT_CAPABILITIES | {"CAP_NET_ADMIN"}),
        (["cap_net_admin"], ["CAP_CHOWN"], DEFAULT_CAPABILITIES - {"CAP_CHOWN"} | {"CAP_NET_ADMIN"}),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}),
        ([], ["ALL"], set()),
        (["ALL"], [], ALL),
        (["ALL"], ["SYS_ADMIN"], ALL - {"CAP_SYS_ADMIN"}),
        (["ALL"], ["ALL"], set()),
        (["ALL", "CHOWN"], ["all"], {"CAP_CHOWN"}),
        (["CHOWN"], ["CHOWN"], DEFAULT_CAPABILITIES - {"CAP_CHOWN"}),
    ],
)
def test_add_and_drop(add: list[str], drop: list[str], expected: set[str]) -> None:
    found = granted(add, drop)
    assert set(found.bounding) == set(expected)
    assert found.bounding == found.permitted == found.effective
    assert found.inheritable == found.ambient == []


def test_the_default_is_dockers_fourteen() -> None:
    assert len(DEFAULT_CAPABILITIES) == 14


def test_ambient_ones_are_in_every_set() -> None:
    found = granted(drop=["ALL"], ambient=["NET_BIND_SERVICE"])
    assert found.ambient == found.inheritable == found.bounding == ["CAP_NET_BIND_SERVICE"]


def test_ambient_ones_are_added_unless_dropped_by_name_and_all_are_those_there_are() -> None:
    assert granted(ambient=["NET_ADMIN"]).ambient == ["CAP_NET_ADMIN"]
    assert "CAP_NET_ADMIN" in granted(ambient=["NET_ADMIN"]).permitted
    found = granted(drop=["NET_ADMIN"], ambient=["NET_ADMIN"])
    assert "CAP_NET_ADMIN" not in found.bounding
    assert found.ambient == []
    found = granted(["CHOWN"], ["ALL"], ["ALL"])
    assert found.ambient == found.inheritable == found.bounding == ["CAP_CHOWN"]
    lacking = granted(ambient=["SYS_TIME"], available=DEFAULT_CAPABILITIES)
    assert lacking.ambient == []


@pytest.mark.parametrize("name", ["", "NOPE", "CAP_", "NET ADMIN", "CAP_CAP_CHOWN"])
def test_unknown_names(name: str) -> None:
    for argument in ({"add": [name]}, {"drop": [name]}, {"ambient": [name]}):
        with pytest.raises(InvalidArgument, match="capabilities"):
            granted(**argument)  # type: ignore[arg-type]


def test_privileged_is_all_that_the_daemon_has() -> None:
    available = ALL - {"CAP_SYS_RESOURCE"}
    assert set(granted(drop=["CHOWN"], privileged=True, available=available).bounding) == available


def test_what_the_daemon_lacks_is_left_out_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "_warned", set())
    with capture_logs() as logs:
        for _ in range(3):
            found = granted(["NET_ADMIN", "SYS_TIME"], available=DEFAULT_CAPABILITIES | {"CAP_NET_ADMIN"})
    assert "CAP_SYS_TIME" not in found.bounding
    assert "CAP_NET_ADMIN" in found.bounding
    assert [entry["capability"] for entry in logs] == ["CAP_SYS_TIME"]
