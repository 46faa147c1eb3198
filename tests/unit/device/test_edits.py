"""CDI edits: what the host fills in, and what becomes of a specification."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from podwright.base.errors import InvalidArgument, NotFound
from podwright.device.cdi_spec import parse_spec
from podwright.device.edits import Edits, apply_edits, gather
from podwright.oci.runtime_spec import (
    Device,
    DeviceRule,
    Hook,
    IntelRdt,
    LinuxResources,
    Mount,
    Process,
    Root,
    Spec,
    User,
)
from tests.unit.device.specs import editing, encoded


def edits(*each: dict[str, Any]) -> Edits:
    return gather([parse_spec(encoded(editing(**one))).devices[0].container_edits for one in each])


def node(**fields: Any) -> tuple[Device, str]:
    (found,) = edits({"deviceNodes": [fields]}).devices
    return found


def spec(**process: Any) -> Spec:
    fields: dict[str, Any] = {"args": ["x"], "cwd": "/", "user": User(), **process}
    return Spec(process=Process(**fields), root=Root(path="/r"))


def test_what_a_node_leaves_out_is_the_hosts() -> None:
    device, access = node(path="/dev/null")
    assert (device.type, device.major, device.minor, device.file_mode, access) == ("c", 1, 3, 0o666, "rwm")
    device, access = node(path="/dev/x", hostPath="/dev/zero", permissions="r", fileMode=0o600, uid=5)
    assert (device.path, device.minor, device.file_mode, device.uid, access) == ("/dev/x", 5, 0o600, 5, "r")


def test_a_complete_node_needs_nothing_of_the_host() -> None:
    device, access = node(path="/dev/nowhere", type="b", major=7, minor=9, permissions="none")
    assert device == Device(path="/dev/nowhere", type="b", major=7, minor=9)
    assert access == ""


def test_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o640)
    device, _ = node(path="/run/fifo", hostPath=str(tmp_path / "fifo"))
    assert (device.type, device.major, device.minor) == ("p", 0, 0)


def test_nodes_that_the_host_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="/dev/nowhere: No such file"):
        node(path="/dev/nowhere")
    with pytest.raises(NotFound, match="/dev/nowhere"):
        node(path="/dev/x", hostPath="/dev/nowhere", type="c")
    with pytest.raises(InvalidArgument, match="is of type c, its specification says b"):
        node(path="/dev/null", type="b")
    with pytest.raises(InvalidArgument, match="is not a device"):
        node(path=str(tmp_path))


def test_mounts(tmp_path: Path) -> None:
    plain = {"hostPath": str(tmp_path), "containerPath": "//a/../x/", "options": ["ro"]}
    tmpfs = {"hostPath": "tmpfs", "containerPath": "/y", "type": "tmpfs", "options": ["size=1m"]}
    assert edits({"mounts": [plain, tmpfs]}).mounts == (
        Mount(destination="/x", source=str(tmp_path), type="bind", options=["bind", "ro"]),
        Mount(destination="/y", source="tmpfs", type="tmpfs", options=["size=1m"]),
    )
    with pytest.raises(NotFound, match=f"{tmp_path}/gone"):
        edits({"mounts": [{"hostPath": f"{tmp_path}/gone", "containerPath": "/x", "options": ["rbind"]}]})


def test_edits_of_several_devices_add_up() -> None:
    hook = {"hookName": "prestart", "path": "/bin/a", "timeout": 3}
    found = edits(
        {"env": ["A=1"], "additionalGids": [5, 0], "intelRdt": {"closID": "one"}, "hooks": [hook]},
        {"env": ["A=2"], "additionalGids": [6, 5], "intelRdt": {"closID": "two"}, "hooks": [hook]},
    )
    assert (found.env, found.additional_gids) == (("A=1", "A=2"), (5, 6))
    assert found.intel_rdt is not None
    assert found.intel_rdt.clos_id == "two"
    assert found.hooks == (("prestart", Hook(path="/bin/a", timeout=3)),) * 2


def test_nothing_to_edit_changes_nothing() -> None:
    before, after = spec(env=["A=1"]), spec(env=["A=1"])
    after.linux.resources = before.linux.resources = LinuxResources()
    apply_edits(after, Edits())
    assert after == before


def test_variables_and_groups() -> None:
    made = spec(env=["A=1", "B=2", "C"], user=User(uid=1, additional_gids=[5]))
    apply_edits(made, Edits(env=("B=3", "D=4", "D=5"), additional_gids=(5, 6)))
    assert made.process.env == ["A=1", "B=3", "C", "D=5"]
    assert made.process.user.additional_gids == [5, 6]


def test_mounts_replace_and_take_their_place_in_the_order() -> None:
    made = spec()
    made.mounts = [Mount(destination="/proc"), Mount(destination="/a", source="old"), Mount(destination="/a/b/c")]
    apply_edits(made, Edits(mounts=(Mount(destination="/a/b"), Mount(destination="/a", source="new"))))
    assert [(m.destination, m.source) for m in made.mounts] == [
        ("/proc", ""), ("/a", "new"), ("/a/b", ""), ("/a/b/c", ""),
    ]  # fmt: skip


def test_devices_replace_and_belong_to_the_containers_user() -> None:
    made = spec(user=User(uid=1000, gid=2000))
    made.linux.devices = [Device(path="/dev/x", type="c", major=9, minor=9)]
    made.linux.resources = LinuxResources(devices=[DeviceRule(allow=False, access="rwm")])
    new = Device(path="/dev/x", type="c", major=1, minor=3)
    owned = Device(path="/dev/y", type="b", major=2, minor=4, uid=0, gid=44)
    fifo = Device(path="/run/fifo", type="p")
    silent = Device(path="/dev/z", type="c", major=5, minor=6)
    apply_edits(made, Edits(devices=((new, "rw"), (owned, "r"), (fifo, "rwm"), (silent, ""))))
    assert [(d.path, d.major, d.uid, d.gid) for d in made.linux.devices] == [
        ("/dev/x", 1, 1000, 2000), ("/dev/y", 2, 0, 44), ("/run/fifo", 0, 1000, 2000), ("/dev/z", 5, 1000, 2000),
    ]  # fmt: skip
    assert made.linux.resources.devices == [
        DeviceRule(allow=False, access="rwm"),
        DeviceRule(allow=True, type="c", major=1, minor=3, access="rw"),
        DeviceRule(allow=True, type="b", major=2, minor=4, access="r"),
    ]


def test_root_owns_what_has_no_owner() -> None:
    made = spec()
    apply_edits(made, Edits(devices=((Device(path="/dev/x", type="c", major=1, minor=3), "r"),)))
    assert (made.linux.devices[0].uid, made.linux.devices[0].gid) == (None, None)
    assert made.linux.resources is not None


def test_hooks_and_cache_classes() -> None:
    made = spec()
    made.hooks = {"prestart": [Hook(path="/first")]}
    class_ = IntelRdt(clos_id="gold")
    hooks = (("prestart", Hook(path="/second")), ("poststop", Hook(path="/third")))
    apply_edits(made, Edits(hooks=hooks, intel_rdt=class_))
    assert made.hooks == {"prestart": [Hook(path="/first"), Hook(path="/second")], "poststop": [Hook(path="/third")]}
    assert made.linux.intel_rdt == class_
