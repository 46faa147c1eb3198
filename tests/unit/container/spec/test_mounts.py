"""Which mounts, in which order, with which options; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument, PrefixedError
from podwright.container.spec.facts import HostFacts, MountSource, SandboxFacts
from podwright.container.spec.mounts import check_place, mount_destination, plan_mounts, rootfs_propagation
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Mount

HOST = HostFacts(capabilities=frozenset(), recursive_read_only=True)
SANDBOX = SandboxFacts(
    id="s", name="p", namespace="n", uid="u", namespaces={"network": "/ns/net"}, hosts=Path("/pod/hosts"),
    resolv_conf=Path("/pod/resolv.conf"), hostname_file=Path("/pod/hostname"), shm=Path("/pod/shm"),
)  # fmt: skip


def plan(
    config: pb.ContainerConfig,
    *,
    sandbox: SandboxFacts = SANDBOX,
    host: HostFacts = HOST,
    shared: bool = True,
    sources: dict[str, MountSource] | None = None,
) -> list[Mount]:
    sources = sources or {
        mount_destination(m.container_path, f"mounts[{at}]"): MountSource(Path(m.host_path), shared=shared)
        for at, m in enumerate(config.mounts)
    }
    return plan_mounts(config, sandbox, host, sources)


def request(*mounts: pb.Mount) -> pb.ContainerConfig:
    return pb.ContainerConfig(mounts=mounts)


def find(mounts: list[Mount], destination: str) -> Mount:
    return next(mount for mount in mounts if mount.destination == destination)


def test_what_every_container_has() -> None:
    mounts = plan(request())
    assert [m.destination for m in mounts] == [
        "/proc", "/dev", "/sys", "/dev/pts", "/dev/mqueue", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname",
        "/dev/shm", "/sys/fs/cgroup",
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


def test_of_two_mounts_at_one_place_the_later_one_is_seen() -> None:
    mounts = plan(
        request(pb.Mount(container_path="/m", host_path="/1"), pb.Mount(container_path="/m/", host_path="/2"))
    )
    assert [m.source for m in mounts if m.destination == "/m"] == ["/2"]


def test_a_dev_of_the_requests_has_its_own_terminals_and_queues() -> None:
    destinations = [m.destination for m in plan(request(pb.Mount(container_path="/dev", host_path="/dev")))]
    assert [d for d in destinations if d.startswith("/dev")] == ["/dev", "/dev/shm"]


def test_a_sysfs_of_the_requests_shows_the_containers_cgroups() -> None:
    destinations = [m.destination for m in plan(request(pb.Mount(container_path="/sys", host_path="/sys")))]
    assert destinations.index("/sys") < destinations.index("/sys/fs/cgroup")


@pytest.mark.parametrize("place", ["/proc", "/proc/self/attr", "/proc/sys", "/proc/cpuinfo/x", "/"])
def test_places_that_nothing_may_hide(place: str) -> None:
    with pytest.raises(InvalidArgument, match="/asked"):
        check_place(place, MountSource(Path("/h")), "/asked")


@pytest.mark.parametrize(
    ("place", "source"),
    [("/proc", MountSource(Path("/proc"), procfs=True)), ("/proc/meminfo", MountSource(Path("/lxcfs/meminfo"))),
     ("/proc2", MountSource(Path("/h"))), ("/sys/fs/bpf", MountSource(Path("/sys/fs/bpf")))],
)  # fmt: skip
def test_places_that_may_be_mounted_on(place: str, source: MountSource) -> None:
    check_place(place, source, place)


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


def test_mounts_made_behind_another_kernel_can_not_reach_the_host() -> None:
    volume = pb.Mount(container_path="/v", host_path="/h", propagation=pb.PROPAGATION_BIDIRECTIONAL)
    pod = SandboxFacts("s", "p", "n", "u", namespaces={"network": "/ns/net", "pid": ""})
    with pytest.raises(FailedPrecondition, match=r"mounts\[0\].propagation: pod p has a kernel of its own"):
        plan(request(volume), sandbox=pod)


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


def test_an_idmapped_volume_is_taken_from_where_it_is_mounted_so() -> None:
    mapping = pb.IDMapping(host_id=100000, container_id=0, length=65536)
    config = request(pb.Mount(container_path="/m", host_path="/h", uidMappings=[mapping], gidMappings=[mapping]))
    sources = {"/m": MountSource(Path("/h"), idmapped=Path("/bundle/volumes/0"))}
    found = find(plan(config, sources=sources), "/m")
    assert found.source == "/bundle/volumes/0"
    assert (found.uid_mappings, found.gid_mappings) == ([], []), "a runtime that knows them would map twice"


def test_id_mappings_that_can_not_be() -> None:
    mapping = pb.IDMapping(host_id=100000, container_id=0, length=65536)
    with pytest.raises(InvalidArgument, match="together"):
        plan(request(pb.Mount(container_path="/m", host_path="/h", uidMappings=[mapping])))
    empty = pb.IDMapping(host_id=1)
    with pytest.raises(InvalidArgument, match="length 0"):
        plan(request(pb.Mount(container_path="/m", host_path="/h", uidMappings=[mapping], gidMappings=[empty])))


def test_a_user_namespace_without_its_own_network_binds_sysfs() -> None:
    sandbox = SandboxFacts(id="s", name="p", namespace="n", uid="u", namespaces={"user": "/ns/user"})
    assert find(plan(request(), sandbox=sandbox), "/sys").type == "bind"
