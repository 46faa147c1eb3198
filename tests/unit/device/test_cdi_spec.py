"""What a CDI specification may say."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.base.errors import InvalidArgument
from podwright.device.cdi_spec import VERSIONS, parse_device_name, parse_spec
from tests.unit.device.specs import editing, encoded, spec

YAML = b"""---
# As programs write it.
cdiVersion: "0.6.0"
kind: vendor.com/class.sub
annotations: {vendor.com/made: "by hand"}
containerEdits:
  hooks:
  - {hookName: createContainer, path: /bin/hook, args: [hook, x], env: [A=b], timeout: 5}
  mounts: null
devices:
- name: "0:1"
  annotations: {a: b}
  containerEdits:
    env: [VISIBLE=0]
    deviceNodes:
    - {path: /dev/x, hostPath: /dev/null, type: c, major: 1, minor: 3, fileMode: 0660, permissions: rw, uid: 1, gid: 2}
    mounts:
    - {hostPath: /lib/x.so, containerPath: /lib/x.so, options: [ro, bind], type: bind}
"""


def test_yaml() -> None:
    found = parse_spec(YAML)
    (device,) = found.devices
    (node,) = device.container_edits.device_nodes
    assert (found.version, found.kind, device.name) == ("0.6.0", "vendor.com/class.sub", "0:1")
    assert (node.path, node.host_path, node.file_mode, node.uid, node.gid) == ("/dev/x", "/dev/null", 0o660, 1, 2)
    assert device.container_edits.mounts[0].options == ("ro", "bind")
    (hook,) = found.container_edits.hooks
    assert (hook.hook_name, hook.args, hook.timeout) == ("createContainer", ("hook", "x"), 5)
    assert found.container_edits.mounts == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_json_of_every_version(version: str) -> None:
    assert parse_spec(encoded(spec("x", version=version))).devices[0].name == "x"
    assert parse_spec(encoded(spec("x", version="v" + version))).version == "v" + version


def test_cache_classes() -> None:
    found = parse_spec(encoded(editing(intelRdt={"closID": "gold", "l3CacheSchema": "L3:0=f", "enableCMT": True})))
    rdt = found.devices[0].container_edits.intel_rdt
    assert rdt is not None
    assert (rdt.clos_id, rdt.l3_cache_schema, rdt.enable_cmt, rdt.enable_mbm) == ("gold", "L3:0=f", True, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (spec(version="0.2.0"), "'0.2.0' is none of 0.3.0"),
        (spec(version="2.0.0"), "'2.0.0' is none of"),
        (spec(kind="vendor.com"), "not a kind"),
        (spec(kind="-v/c"), "not a kind"),
        (spec(kind="v/c/d"), "not a kind"),
        (spec(kind="v/c\n"), "not a kind"),
        ({**spec(), "devices": []}, "no device"),
        (spec("a", "a"), "twice"),
        (spec("a/b"), "not a device's name"),
        (spec("a="), "not a device's name"),
        ({**spec(), "surprise": 1}, "surprise"),
        (editing(), "edits nothing"),
        (editing(netDevices=[{"hostInterfaceName": "eth0", "name": "x"}], version="1.1.0"), "netDevices"),
        (editing(intelRdt={"schemata": []}, version="1.1.0"), "schemata"),
        (editing(env=["=x"]), "not NAME=VALUE"),
        (editing(env=["NAME"]), "not NAME=VALUE"),
        (editing(env=["A=\0"]), "not NAME=VALUE"),
        (editing(deviceNodes=[{"path": "dev/x"}]), "absolute"),
        (editing(deviceNodes=[{"path": "/dev/x", "type": "d"}]), "none of b, c, u, p"),
        (editing(deviceNodes=[{"path": "/dev/x", "permissions": "rx"}]), "not made of r, w and m"),
        (editing(deviceNodes=[{"path": "/dev/x", "major": "1"}]), "Expected `int`"),
        (editing(mounts=[{"hostPath": "", "containerPath": "/x"}]), "needs hostPath"),
        (editing(mounts=[{"hostPath": "/x", "containerPath": "x"}]), "absolute containerPath"),
        (editing(hooks=[{"hookName": "later", "path": "/x"}]), "'later' is none of createContainer"),
        (editing(hooks=[{"hookName": "prestart", "path": "x"}]), "absolute"),
        (editing(hooks=[{"hookName": "prestart", "path": "/x", "env": ["A"]}]), "NAME=VALUE"),
        (editing(intelRdt={"closID": ".."}), "no file name"),
        (editing(intelRdt={"closID": "a/b"}), "no file name"),
        (editing(additionalGids=[-1]), "out of range"),
        (editing("0.6.0", additionalGids=[1]), "additionalGids need version 0.7.0, the file says 0.6.0"),
        (editing("0.6.0", intelRdt={"closID": "x"}), "intelRdt need version 0.7.0"),
        (spec(version="0.5.0", annotations={"a": "b"}), "annotations need version 0.6.0"),
        (spec(version="0.5.0", kind="vendor.com/a.b"), "dots in a class need version 0.6.0"),
        (spec("0", version="0.4.0"), "digit need version 0.5.0"),
        (editing("0.4.0", deviceNodes=[{"path": "/dev/x", "hostPath": "/dev/y"}]), "need version 0.5.0"),
        (editing("0.3.0", mounts=[{"hostPath": "/x", "containerPath": "/x", "type": "bind"}]), "need version 0.4.0"),
    ],
)
def test_what_is_refused(content: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_spec(encoded(content))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{", b"\xff\xfe\xff", b"a: b: c", b"cdiVersion: 1\ncdiVersion: 2", b"[" * 100000,
             b"? {a: b}\n: c"],
)  # fmt: skip
def test_what_is_no_specification(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_spec(data)


def test_full_names() -> None:
    assert parse_device_name("vendor.com/c_l-a.s=0:x.y") == ("vendor.com/c_l-a.s", "0:x.y")
    for text in ("", "=", "a/b", "a/b=", "a=b", "/b=c", "a/=c", "a/b=c/d", "a/b=-c", "1/b=c", "a/b=c\n"):
        with pytest.raises(InvalidArgument, match="not the full name"):
            parse_device_name(text)
