"""What can't cross into a machine is refused by name; files and namespaces of the rest get their way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.oci.runtime_spec import StoredSpec
from podwright.vm import crossing

NAMESPACES = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]


def configuration(**linux: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2",
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [],
        "linux": {"namespaces": NAMESPACES, **linux},
    }


def spec_of(document: dict[str, Any]) -> StoredSpec:
    return msgspec.convert(document, type=StoredSpec)


def test_a_plain_container_can_cross() -> None:
    crossing.check(spec_of(configuration()))


@pytest.mark.parametrize("kind", ["network", "pid", "ipc"])
def test_namespaces_of_the_host_are_refused(kind: str) -> None:
    left = [namespace for namespace in NAMESPACES if namespace["type"] != kind]
    with pytest.raises(FailedPrecondition, match=f"there is no {kind} namespace: the host's"):
        crossing.check(spec_of(configuration(namespaces=left)))


def test_a_container_that_joins_a_pod_may_have_its_pids() -> None:
    document = configuration(namespaces=[namespace for namespace in NAMESPACES if namespace["type"] != "pid"])
    crossing.check(spec_of(document), joins=True)
    made = crossing.document("c", document, spec_of(document), lambda _: "", joins="pod")
    assert {"type": "pid", "path": "container:pod"} in made["spec"]["linux"]["namespaces"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (configuration(namespaces=[*NAMESPACES, {"type": "user"}]), "user namespaces"),
        (configuration(rootfsPropagation="rshared"), "linux.rootfsPropagation"),
        (configuration(intelRdt={}), "intelRdt"),
        (
            configuration() | {"mounts": [{"destination": "/v", "source": "/", "options": ["rbind", "rshared"]}]},
            r"mounts\[0\] \(/v\): .*Bidirectional",
        ),
        (
            configuration()
            | {"mounts": [{"destination": "/v", "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}]},
            "idmapped",
        ),
    ],
)
def test_what_can_not_cross_is_refused_by_name(document: dict[str, Any], words: str) -> None:
    with pytest.raises(FailedPrecondition, match=words):
        crossing.check(spec_of(document))


def test_files_get_their_way(tmp_path: Path) -> None:
    """Binds come from the share, all else is the machine's; the shared memory is as large as the host's."""
    document = configuration(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]})
    document["mounts"] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/volume", "type": "bind", "source": "volume", "options": ["rbind", "ro"]},
        {"destination": "/dev/shm", "type": "bind", "source": str(tmp_path), "options": ["rbind", "size=1"]},
    ]
    spec = spec_of(document)
    asked: list[tuple[str, bool, bool, bool]] = []

    def open_mount(path: str, *, recursive: bool, read_only: bool, read_only_below: bool, **_: object) -> int:
        asked.append((path, recursive, read_only, read_only_below))
        return os.open(os.devnull, os.O_RDONLY)

    trees = crossing.open_trees(spec, Path("/bundle"), Path("/bundle/rootfs"), open_mount)
    for tree in trees.values():
        os.close(tree)
    assert list(trees) == ["rootfs", "1"]
    assert asked == [("/bundle/rootfs", True, True, True), ("/bundle/volume", True, True, False)]

    made = crossing.document("c", document, spec, lambda _: "")
    assert made["rootfs"] == "share:c/rootfs"
    proc, volume, shm = made["spec"]["mounts"]
    assert proc == document["mounts"][0]
    assert volume["source"] == "share:c/1"
    found = os.statvfs(tmp_path)
    assert shm["options"] == ["rbind", f"size={found.f_blocks * found.f_frsize}"]
    assert made["spec"]["linux"]["namespaces"][-1] == {"type": "cgroup"}
    assert "seccomp" not in made["spec"]["linux"]
    assert made["spec"]["annotations"].keys() == {crossing.COMPILED_SECCOMP}


def test_pid_namespaces_are_those_of_containers() -> None:
    document = configuration(namespaces=[{"type": "pid", "path": "/proc/41/ns/pid"}])
    made = crossing.document("c", document, spec_of(document), {41: "other"}.__getitem__)
    assert made["spec"]["linux"]["namespaces"][0] == {"type": "pid", "path": "container:other"}
    with pytest.raises(InvalidArgument, match="/proc/41/ns/pid is no PID namespace"):
        crossing.document("c", document, spec_of(document), lambda _: "")
