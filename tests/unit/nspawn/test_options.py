"""From a configuration to nspawn's command line, and what has none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from podwright.base.errors import Unimplemented
from podwright.linux import syscalls as sys
from podwright.nspawn import refuse
from podwright.nspawn.launch import carrier_script
from podwright.nspawn.mount_options import parse
from podwright.nspawn.options import environment, joined, options
from podwright.oci.runtime_spec import Namespace, StoredSpec

NEW = [Namespace(type=kind) for kind in ("pid", "mount", "network", "ipc", "uts")]


def test_new_namespaces_are_nspawns_own() -> None:
    found = options("/stage", "m", NEW, {"/usr": "/us:r"})
    assert "--private-network" in found
    assert "--bind-ro=/us\\:r:/usr" in found
    assert not [name for name in environment(NEW) if "SHARE" in name]
    assert joined(NEW) == []


def test_namespaces_of_a_pod_are_joined_and_those_not_named_are_the_hosts() -> None:
    given = [Namespace(type="mount"), *(Namespace(type=kind, path=f"/ns/{kind}") for kind in ("network", "ipc", "uts"))]
    assert "--network-namespace-path=/ns/network" in options("/stage", "m", given, {})
    assert sorted(name for name in environment(given) if "SHARE" in name) == [
        "SYSTEMD_NSPAWN_SHARE_NS_IPC", "SYSTEMD_NSPAWN_SHARE_NS_PID", "SYSTEMD_NSPAWN_SHARE_NS_UTS",
    ]  # fmt: skip
    assert joined(given) == ["/ns/ipc", "/ns/uts"]
    assert not [word for word in options("/stage", "m", [], {}) if "network" in word]


def document(**linux: Any) -> dict[str, Any]:
    return {
        "process": {"args": ["x"], "cwd": "/", "user": {}}, "root": {"path": "r"},
        "linux": {"namespaces": [{"type": "mount"}], **linux},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"linux": {"uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}}, "linux.uidMappings"),
        ({"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}}, "user namespaces"),
        (
            {"linux": {"namespaces": [{"type": "mount"}, {"type": "cgroup", "path": "/c"}]}},
            "join the cgroup namespace /c",
        ),
        ({"linux": {"namespaces": [{"type": "pid"}]}}, "without a mount namespace"),
        ({"linux": {"intelRdt": {"closID": "a"}}}, "linux.intelRdt"),
        ({"linux": {"resources": {"blockIO": {"weight": 10}}}}, "linux.resources.blockIO"),
        ({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}}, "linux.timeOffsets"),
        ({"domainname": "d"}, "domainname"),
        ({"process": {"args": ["x"], "cwd": "/", "user": {}, "selinuxLabel": "l"}}, "process.selinuxLabel"),
        ({"mounts": [{"destination": "/m", "options": ["rbind", "idmap"]}]}, "/m: mapped ids"),
        ({"mounts": [{"destination": "/m", "type": "tmpfs", "options": ["tmpcopyup"]}]}, "/m: tmpcopyup"),
    ],
)
def test_what_is_refused_has_its_name(changed: dict[str, Any], words: str) -> None:
    wanted = document() | changed
    wanted["linux"] = document()["linux"] | changed.get("linux", {})
    spec = msgspec.convert(wanted, StoredSpec)
    with pytest.raises(Unimplemented) as refused:
        refuse.check(spec, wanted)
    assert words in str(refused.value)
    refuse.check(msgspec.convert(document(), StoredSpec), document())


def test_empty_members_ask_for_nothing() -> None:
    wanted = document(resources={"blockIO": {"weightDevice": []}, "network": {"priorities": None}}, uidMappings=[])
    refuse.check(msgspec.convert(wanted, StoredSpec), wanted)


def test_mount_options() -> None:
    found = parse(["rbind", "ro", "nosuid", "rslave", "rro", "mode=755", "size=1k"])
    assert (found.bind, found.recursive) == (True, True)
    assert found.flags == sys.MS_RDONLY | sys.MS_NOSUID
    assert found.set_attributes == sys.MOUNT_ATTR_RDONLY | sys.MOUNT_ATTR_NOSUID
    assert found.recursive_set == sys.MOUNT_ATTR_RDONLY
    assert found.propagation == sys.MS_SLAVE | sys.MS_REC
    assert found.data == "mode=755,size=1k"


def test_the_last_word_counts() -> None:
    found = parse(["ro", "rw", "noexec", "shared"])
    assert (found.set_attributes, found.clear_attributes) == (sys.MOUNT_ATTR_NOEXEC, sys.MOUNT_ATTR_RDONLY)
    assert (found.flags, found.propagation) == (sys.MS_NOEXEC, sys.MS_SHARED)


def test_the_carrier_knows_every_signals_end() -> None:
    script = carrier_script()
    assert "KILL) exit 137 ;;" in script
    assert "SEGV) exit 139 ;;" in script
    assert "SIGNALS" not in script
