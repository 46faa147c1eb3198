"""Who may make device nodes."""

from __future__ import annotations

from podwright.nspawn.device_nodes import confined
from podwright.oci.runtime_spec import DeviceRule, LinuxResources

PROCESS = {"args": ["x"], "capabilities": {"bounding": ["CAP_MKNOD", "CAP_KILL"], "ambient": None}}
NONE = LinuxResources(devices=[DeviceRule(allow=False, access="rwm")])
ALL = LinuxResources(devices=[DeviceRule(allow=False, access="rwm"), DeviceRule(allow=True, access="rwm")])


def test_nobody_without_a_guard() -> None:
    without = {"bounding": ["CAP_KILL"], "ambient": []}
    assert confined(PROCESS, NONE, guarded=False)["capabilities"] == without
    assert confined(PROCESS, None, guarded=False)["capabilities"] == without


def test_those_who_are_guarded_or_may_use_all() -> None:
    assert confined(PROCESS, NONE, guarded=True) == PROCESS
    assert confined(PROCESS, ALL, guarded=False) == PROCESS
    assert confined({"args": ["x"]}, NONE, guarded=False)["capabilities"] == {}
