"""What a request refers to on this host: symlinks, missing paths, devices, profiles, image volumes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument, NotFound
from podwright.container.spec.facts import HostFacts, MountSource
from podwright.container.spec.inspect import cdi_devices, host_devices, host_facts, inspect_request
from podwright.criapi import api_pb2 as pb
from podwright.device.cdi import CdiDevices

HOST = HostFacts(capabilities=frozenset({"CAP_CHOWN"}))


def config(**mount: object) -> pb.ContainerConfig:
    return pb.ContainerConfig(mounts=[pb.Mount(container_path="/m", **mount)])  # type: ignore[arg-type]


def test_symlinked_host_paths_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    source = inspect_request(config(host_path=str(tmp_path / "link")), HOST).sources["/m"]
    assert (source.path, source.exists, source.is_directory) == (tmp_path / "real", True, True)


def test_a_missing_host_path_is_a_directory_to_be_made(tmp_path: Path) -> None:
    source = inspect_request(config(host_path=str(tmp_path / "a/b")), HOST).sources["/m"]
    assert (source.path, source.exists, source.is_directory) == (tmp_path / "a/b", False, True)
    assert os.listdir(tmp_path) == []


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not inspect_request(config(host_path=str(tmp_path / "file")), HOST).sources["/m"].is_directory


@pytest.mark.parametrize("path", ["", "relative", "/a\0b"])
def test_bad_host_paths(path: str) -> None:
    with pytest.raises(InvalidArgument, match=r"mounts\[0\]"):
        inspect_request(config(host_path=path), HOST)


def test_propagation_is_that_of_the_mount_below() -> None:
    source = inspect_request(config(host_path="/proc", propagation=pb.PROPAGATION_BIDIRECTIONAL), HOST).sources["/m"]
    assert (source.path, source.mount_point) == (Path("/proc"), "/proc")


def test_the_source_of_a_mount_on_proc() -> None:
    def is_procfs(host_path: str) -> bool:
        asked = pb.ContainerConfig(mounts=[pb.Mount(container_path="/proc", host_path=host_path)])
        return inspect_request(asked, HOST).sources["/proc"].procfs

    assert [is_procfs(path) for path in ("/proc", "/proc/sys", "/tmp", "/nowhere")] == [True, False, False, False]


def test_host_paths_that_are_not_made(tmp_path: Path) -> None:
    picky = host_facts(unified_cgroups=True, recursive_read_only=False, absent_sources_to_reject=(f"{tmp_path}/gone/",))
    for path in (tmp_path / "gone", f"{tmp_path}//gone/"):
        with pytest.raises(NotFound, match="absent_mount_sources_to_reject"):
            inspect_request(config(host_path=str(path)), picky)
    assert not inspect_request(config(host_path=f"{tmp_path}/gone/below"), picky).sources["/m"].exists
    (tmp_path / "gone").mkdir()
    assert inspect_request(config(host_path=str(tmp_path / "gone")), picky).sources["/m"].exists


def test_sources_go_by_the_destination_as_it_is_mounted(tmp_path: Path) -> None:
    asked = pb.ContainerConfig(mounts=[pb.Mount(container_path="/a/../b//", host_path=str(tmp_path))])
    assert list(inspect_request(asked, HOST).sources) == ["/b"]


def test_image_volumes(tmp_path: Path) -> None:
    asked = config(image=pb.ImageSpec(image="img"), readonly=True)
    assert inspect_request(asked, HOST, image_volumes={0: tmp_path}).sources["/m"].path == tmp_path
    (tmp_path / "file").touch()
    found = inspect_request(asked, HOST, image_volumes={0: tmp_path / "file"}).sources["/m"]
    assert (found.path, found.is_directory) == (tmp_path / "file", False)


def test_a_device_and_its_permissions() -> None:
    asked = pb.ContainerConfig(devices=[pb.Device(host_path="/dev/null", container_path="/dev/x", permissions="r")])
    ((device, access),) = inspect_request(asked, HOST).devices
    assert (device.path, device.type, device.major, device.minor, access) == ("/dev/x", "c", 1, 3, "r")
    assert device.file_mode is not None


def test_a_directory_of_devices(tmp_path: Path) -> None:
    asked = pb.ContainerConfig(devices=[pb.Device(host_path="/dev", container_path="/inside", permissions="rw")])
    found = {device.path for device, access in inspect_request(asked, HOST).devices if access == "rw"}
    assert {"/inside/null", "/inside/zero"} <= found
    assert not any("/pts/" in path for path in found)
    empty = pb.ContainerConfig(devices=[pb.Device(host_path=str(tmp_path))])
    with pytest.raises(NotFound, match="no device"):
        inspect_request(empty, HOST)


def test_what_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match="not a device"):
        inspect_request(pb.ContainerConfig(devices=[pb.Device(host_path=str(tmp_path / "file"))]), HOST)
    with pytest.raises(NotFound, match="nowhere"):
        inspect_request(pb.ContainerConfig(devices=[pb.Device(host_path=str(tmp_path / "nowhere"))]), HOST)
    with pytest.raises(InvalidArgument, match="absolute"):
        inspect_request(pb.ContainerConfig(devices=[pb.Device(host_path="dev/null")]), HOST)


def test_the_privileged_get_all_devices_but_terminals() -> None:
    asked = pb.ContainerConfig()
    asked.linux.security_context.privileged = True
    paths = {device.path for device, _access in inspect_request(asked, HOST).devices}
    assert {device.path for device, _ in host_devices()} == paths
    assert "/dev/null" in paths
    assert "/dev/console" not in paths
    without = HostFacts(capabilities=HOST.capabilities, privileged_devices=False)
    asked.devices.add(host_path="/dev/null")
    assert [device.path for device, _ in inspect_request(asked, without).devices] == ["/dev/null"]


@pytest.mark.parametrize("path", ["dev/x", "x", "/a\0b"])
def test_bad_places_for_devices(path: str) -> None:
    asked = pb.ContainerConfig(devices=[pb.Device(host_path="/dev/null", container_path=path)])
    with pytest.raises(InvalidArgument, match=r"devices\[0\]: container_path"):
        inspect_request(asked, HOST)


def test_places_of_devices_are_plain() -> None:
    asked = pb.ContainerConfig(devices=[pb.Device(host_path="/dev/null", container_path="//dev/../dev/x/")])
    assert [device.path for device, _ in inspect_request(asked, HOST).devices] == ["/dev/x"]


def test_cdi_devices(tmp_path: Path) -> None:
    device = {"name": "a", "containerEdits": {
        "env": ["A=1"], "mounts": [{"hostPath": str(tmp_path), "containerPath": "/lib//x/"}],
    }}  # fmt: skip
    (tmp_path / "spec.json").write_text(
        json.dumps({"cdiVersion": "0.5.0", "kind": "vendor.com/x", "devices": [device, {**device, "name": "b"}]})
    )
    cdi = CdiDevices([tmp_path])
    asked = pb.ContainerConfig(
        CDI_devices=[pb.CDIDevice(name="vendor.com/x=a")],
        annotations={"cdi.k8s.io/plugin_1": "vendor.com/x=b,vendor.com/x=a", "other": "vendor.com/x=c"},
    )
    assert cdi_devices(asked) == ["vendor.com/x=a", "vendor.com/x=b"]
    found = inspect_request(asked, HOST, cdi=cdi)
    assert found.edits.env == ("A=1", "A=1")
    assert found.sources["/lib/x"] == MountSource(tmp_path)
    with pytest.raises(NotFound, match=r"no CDI device vendor\.com/x=a"):
        inspect_request(asked, HOST)


def test_seccomp_files(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    asked = pb.ContainerConfig()
    asked.linux.security_context.seccomp.profile_type = pb.SecurityProfile.Localhost
    asked.linux.security_context.seccomp.localhost_ref = str(profile)
    found = inspect_request(asked, HOST)
    assert found.seccomp is not None
    assert found.seccomp_filter == ""
    profile.unlink()
    with pytest.raises(NotFound):
        inspect_request(asked, HOST)


def test_filters_are_compiled_for_handlers_that_take_them() -> None:
    asked = pb.ContainerConfig()
    taking = HostFacts(capabilities=HOST.capabilities, compiled_seccomp=True)
    assert inspect_request(asked, taking).seccomp_filter == ""
    asked.linux.security_context.seccomp.profile_type = pb.SecurityProfile.RuntimeDefault
    assert len(inspect_request(asked, taking).seccomp_filter) > 100


def test_host_facts() -> None:
    facts = host_facts(unified_cgroups=True, recursive_read_only=False)
    assert facts.unified_cgroups
    assert facts.hostname == os.uname().nodename
    assert -1000 <= facts.oom_score_adj_min <= 1000
