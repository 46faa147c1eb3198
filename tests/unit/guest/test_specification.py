"""An OCI specification as the agent reads it."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.guest.failures import Failure
from podwright.guest.mounts import Mount
from podwright.guest.specification import MACHINES, NEW, plan
from podwright.linux import syscalls

BIND = syscalls.MS_BIND


def specification(**changes: Any) -> dict[str, Any]:
    return {"process": {"args": ["sh"], "env": ["A=1", "B=x=y"], "cwd": "/srv"}} | changes


def test_a_small_specification() -> None:
    made = plan(specification(), "share:c/rootfs")
    assert made.process[:4] == (["sh"], {"A": "1", "B": "x=y"}, "/srv", False)
    assert made.layout.root == "/share/c/rootfs"
    assert made.pid_namespace == MACHINES
    assert made.process.credentials.masks["bounding"] == 0
    assert [node.path for node in made.layout.nodes] == [
        "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
    ]  # fmt: skip


def test_mounts_of_the_share_and_of_the_machine() -> None:
    mounts = [
        {"destination": "/v", "type": "bind", "source": "share:v", "options": ["rbind", "ro", "rprivate"]},
        {"destination": "/w", "type": "bind", "source": "share:w/../x"},
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m", "mode=755"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["noexec", "size=64m"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]},
    ]
    made = plan(specification(mounts=mounts), "share:r")
    private = syscalls.MS_PRIVATE | syscalls.MS_REC
    assert made.layout.mounts == [
        Mount("/share/v", "/v", "bind", BIND | syscalls.MS_REC | syscalls.MS_RDONLY, "", private, False),
        Mount("/share/x", "/w", "bind", BIND | syscalls.MS_REC, "", 0, False),
        Mount("tmpfs", "/t", "tmpfs", syscalls.MS_NOSUID, "size=1m,mode=755", 0, False),
        Mount("/run/shm", "/dev/shm", "bind", BIND | syscalls.MS_NOEXEC, "", 0, False),
        Mount("none", "/sys/fs/cgroup", "cgroup2", syscalls.MS_RDONLY, "", 0, False),
    ]
    assert made.shm_options == "size=64m"


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [
        ([{"type": "pid"}, {"type": "network", "path": "/x"}], NEW),
        ([{"type": "pid", "path": "container:one"}], "one"),
        ([{"type": "uts"}], MACHINES),
    ],
)
def test_pid_namespaces(namespaces: list[dict[str, str]], expected: str) -> None:
    assert plan(specification(linux={"namespaces": namespaces}), "share:r").pid_namespace == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": {}}, "spec.process.args: is empty"),
        ({"process": {"args": [1]}}, "spec.process.args[0]: is not a string"),
        ({"process": {"args": ["a"], "cwd": "tmp"}}, "spec.process.cwd: 'tmp' is not an absolute path"),
        ({"process": {"args": ["a"], "rlimits": [{"type": "RLIMIT_X"}]}}, "rlimits: 'RLIMIT_X' is no limit"),
        ({"mounts": [{"destination": "/a", "type": "bind", "source": "/etc"}]}, "spec.mounts[0].source: '/etc'"),
        ({"mounts": [{"destination": "/a", "type": "bind", "source": "share:../etc"}]}, "spec.mounts[0].source"),
        ({"mounts": [{"destination": "/a", "type": "nfs"}]}, "spec.mounts[0].type: 'nfs'"),
        ({"mounts": [{"type": "tmpfs"}]}, "spec.mounts[0].destination: is missing"),
        ({"linux": {"namespaces": [{"type": "user"}]}}, "spec.linux.namespaces[0].type"),
        ({"linux": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}]}}, "spec.linux.namespaces[0].path"),
        ({"linux": {"devices": [{"path": "/etc/passwd"}]}}, "the machine has no /etc/passwd"),
        ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}, "spec.linux.seccomp: has to come compiled"),
        ({"annotations": {"run.oci.seccomp_bpf_data": "AAA="}}, "is no BPF program"),
        ({"hooks": {"prestart": []}}, "spec.hooks"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Failure) as failed:
        plan(specification(**changes), "share:r")
    assert words in str(failed.value)
