"""Device rules and permissions."""

from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.spec.devices import checked_permissions, device_nodes, device_rules
from podwright.criapi import api_pb2 as pb
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
    assert device_rules([(fuse, "rw")], everything=False) == [
        DeviceRule(allow=False, access="rwm"),
        DeviceRule(allow=True, type="c", major=10, minor=229, access="rw"),
    ]


def test_everything_for_the_privileged() -> None:
    assert device_rules([], everything=True) == [DeviceRule(allow=True, access="rwm")]


def test_one_node_a_path() -> None:
    given = Device(path="/dev/x", type="c", major=1, minor=3)
    host = Device(path="/dev/x", type="c", major=9, minor=9)
    other = Device(path="/dev/y", type="b", major=7, minor=0)
    assert device_nodes([(host, "rwm"), (other, "r"), (given, "rw")], None) == [given, other]


def test_nodes_belong_to_whom_the_security_context_names() -> None:
    node = Device(path="/dev/x", type="c", major=1, minor=3, uid=0, gid=44)
    owner = pb.LinuxContainerSecurityContext()
    assert device_nodes([(node, "r")], owner) == [node]
    owner.run_as_user.value = 1000
    (owned,) = device_nodes([(node, "r")], owner)
    assert (owned.uid, owned.gid) == (1000, 44)
    owner.run_as_group.value = 2000
    (owned,) = device_nodes([(node, "r")], owner)
    assert (owned.uid, owned.gid) == (1000, 2000)
