"""Device rules and permissions."""

from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.spec.devices import checked_permissions, device_rules
from podwright.oci.runtime_spec import Device, DeviceRule


@pytest.mark.parametrize(("given", "expected"), [("", "rwm"), ("r", "r"), ("wr", "rw"), ("mrw", "rwm"), ("rr", "r")])
def test_permissions(given: str, expected: str) -> None:
    assert checked_permissions(given, "devices[0]") == expected


@pytest.mark.parametrize("given", ["x", "rwx", "R", " "])
def test_bad_permissions(given: str) -> None:
    with pytest.raises(InvalidArgument, match=r"devices\[3\]"):
        checked_permissions(given, "devices[3]")


def test_nothing_but_what_is_given() -> None:
    fuse = Device(path="/dev/fuse", type="c", major=10, minor=229)
    assert device_rules([(fuse, "rw")], privileged=False) == [
        DeviceRule(allow=False, access="rwm"),
        DeviceRule(allow=True, type="c", major=10, minor=229, access="rw"),
    ]


def test_everything_for_the_privileged() -> None:
    assert device_rules([], privileged=True) == [DeviceRule(allow=True, access="rwm")]
