"""Which mounts, in which order, with which options; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument, PrefixedError
from podwright.container.spec.facts import HostFacts, MountSource, SandboxFacts
from podwright.container.spec.mounts import plan_mounts, rootfs_propagation
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Mount

HOST = HostFacts(capabilities=frozenset(), recursive_read_only=True)
SANDBOX = SandboxFacts(
    id="s", name="p", namespace="n", uid="u", namespaces={"network": "/ns/net"}, hosts=Path("/pod/hosts"),
    resolv_conf=Path("/pod/resolv.conf"), hostname_file=Path("/pod/hostname"), shm=Path("/pod/shm"),
)  # fmt: skip


def plan(
    config: pb.ContainerConfig, *, sandbox: SandboxFacts = SANDBOX, host: HostFacts = HOST, shared: bool = True
) -> list[Mount]:
    sources = {m.container_path: MountSource(Path(m.host_path), shared=shared) for m in config.mounts}
    return plan_mounts(config, sandbox, host, sources)


def request(*mounts: pb.Mount) -> pb.ContainerConfig:
    return pb.ContainerConfig(mounts=mounts)


def find(mounts: list[Mount], destination: str) -> Mount:
    return next(mount for mount in mounts if mount.destination == destination)


def test_what_every_container_has() -> None:
    mounts = plan(request())
    assert [m.destination for m in mounts] == [
        "/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup",
        "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/shm",
    ]  # fmt: skip
    assert "ro" in find(mounts, "/sys").options
    assert "ro" in find(mounts, "/sys/fs/cgroup").options
    assert "rw" in find(mounts, "/etc/hosts").options


def test_privileged_may_write_to_sysfs_and_cgroups() -> None:
    config = request()
    config.linux.security_context.privileged = True
    mounts = plan(config)
    assert "ro" not in find(mounts, "/sys").options + find(mounts, "/sys/fs/cgroup").options


def test_a_read_only_rootfs_has_read_only_pod_files() -> None:
    config = request()
    config.linux.security_context.readonly_rootfs = True
    mounts = plan(config)
    assert "ro" in find(mounts, "/etc/hosts").options
    assert "rw" in find(mounts, "/dev/shm").options


def test_the_requests_mounts_win_over_ours() -> None:
    paths = ("/etc/hosts", "/dev/shm", "/etc/resolv.conf/", "/sys/fs/cgroup")
    mounts = plan(request(*(pb.Mount(container_path=path, host_path="/h") for path in paths)))
    for path in paths:
        found = [m for m in mounts if m.destination == path.rstrip("/")]
        assert [m.source for m in found] == ["/h"]


def test_parents_come_before_children_whatever_the_order_asked() -> None:
    paths = ("/a/b/c", "/a", "/z", "/a/b", "//a//b/d/")
    mounts = plan(request(*(pb.Mount(container_path=path, host_path="/h") for path in paths)))
    destinations = [m.destination for m in mounts]
    assert destinations.index("/a") < destinations.index("/a/b") < destinations.index("/a/b/c")
    assert "/a/b/d" in destinations


@pytest.mark.parametrize(
    ("propagation", "option", "root"),
    [
        (pb.PROPAGATION_PRIVATE, "rprivate", ""),
        (pb.PROPAGATION_HOST_TO_CONTAINER, "rslave", "rslave"),
        (pb.PROPAGATION_BIDIRECTIONAL, "rshared", "rshared"),
    ],
)
def test_propagation(propagation: pb.MountPropagation.ValueType, option: str, root: str) -> None:
    config = request(pb.Mount(container_path="/m", host_path="/h", propagation=propagation))
    assert find(plan(config), "/m").options == ["rbind", option, "rw"]
    assert rootfs_propagation(config.mounts) == root


@pytest.mark.parametrize("propagation", [pb.PROPAGATION_HOST_TO_CONTAINER, pb.PROPAGATION_BIDIRECTIONAL])
def test_propagation_needs_a_shared_mount(propagation: pb.MountPropagation.ValueType) -> None:
    config = request(pb.Mount(container_path="/m", host_path="/h", propagation=propagation))
    with pytest.raises(InvalidArgument, match="make-rshared"):
        plan(config, shared=False)


def test_read_only_and_recursively_so() -> None:
    config = request(
        pb.Mount(container_path="/ro", host_path="/h", readonly=True),
        pb.Mount(container_path="/rro", host_path="/h", readonly=True, recursive_read_only=True),
    )
    mounts = plan(config)
    assert find(mounts, "/ro").options == ["rbind", "rprivate", "ro"]
    assert find(mounts, "/rro").options == ["rbind", "rprivate", "rro"]


@pytest.mark.parametrize(
    "fields",
    [{"readonly": False}, {"readonly": True, "propagation": pb.PROPAGATION_HOST_TO_CONTAINER},
     {"readonly": True, "propagation": pb.PROPAGATION_BIDIRECTIONAL}],
)  # fmt: skip
def test_recursive_read_only_needs_readonly_and_private(fields: dict[str, int]) -> None:
    config = request(pb.Mount(container_path="/m", host_path="/h", recursive_read_only=True))
    for name, value in fields.items():
        setattr(config.mounts[0], name, value)
    with pytest.raises(InvalidArgument, match="recursive_read_only"):
        plan(config)


def test_recursive_read_only_that_the_runtime_cannot() -> None:
    config = request(pb.Mount(container_path="/m", host_path="/h", readonly=True, recursive_read_only=True))
    with pytest.raises(PrefixedError, match=r"^RROUnsupported"):
        plan(config, host=HostFacts(capabilities=frozenset()))


def test_mount_options() -> None:
    config = request(pb.Mount(container_path="/m", host_path="/h", mount_options=["noexec", "nosuid"]))
    assert find(plan(config), "/m").options == ["rbind", "rprivate", "rw", "noexec", "nosuid"]
    config.mounts[0].mount_options.append("rw")
    with pytest.raises(InvalidArgument, match="'rw'"):
        plan(config)


@pytest.mark.parametrize("path", ["", "/", "//", "/a/..", "/a\0b"])
def test_bad_container_paths(path: str) -> None:
    with pytest.raises(InvalidArgument, match=r"mounts\[0\]"):
        plan(request(pb.Mount(container_path=path, host_path="/h")))


def test_dots_in_a_container_path_stay_inside() -> None:
    mounts = plan(request(pb.Mount(container_path="/../../etc/x", host_path="/h")))
    assert find(mounts, "/etc/x").source == "/h"


def test_id_mappings_are_passed_on() -> None:
    mapping = pb.IDMapping(host_id=100000, container_id=0, length=65536)
    config = request(pb.Mount(container_path="/m", host_path="/h", uidMappings=[mapping], gidMappings=[mapping]))
    found = find(plan(config), "/m")
    assert [(m.host_id, m.container_id, m.size) for m in found.uid_mappings] == [(100000, 0, 65536)]
    assert found.gid_mappings == found.uid_mappings


def test_a_user_namespace_without_its_own_network_binds_sysfs() -> None:
    sandbox = SandboxFacts(id="s", name="p", namespace="n", uid="u", namespaces={"user": "/ns/user"})
    assert find(plan(request(), sandbox=sandbox), "/sys").type == "bind"
