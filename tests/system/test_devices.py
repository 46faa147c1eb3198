"""Devices through the socket: nodes, directories, ownership, and what CDI specifications bring."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config, serving
from tests.support.images import refusal

pytestmark = pytest.mark.root

KIND = "vendor.com/dev"


@pytest.fixture(scope="module", params=["crun", "runc"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("d")
    daemon = Daemon(
        directory, runtime=request.param,
        config=f'[device]\ncdi_spec_dirs = ["{directory}/etc-cdi", "{directory}/run-cdi"]\n'
        f'device_ownership_from_security_context = true\n'
        f'[runtime.handlers.bare]\npath = "{request.param}"\nprivileged_without_host_devices = true\n',
    )  # fmt: skip
    with serving(daemon):
        yield daemon


@pytest.fixture
def daemon(server: Daemon) -> Iterator[Daemon]:
    """One daemon a runtime; after each test without pods and specifications."""
    yield server
    server.clear_pods()
    for path in server.directory.glob("*-cdi/*"):
        path.unlink()


def write_spec(daemon: Daemon, *devices: dict[str, Any], name: str = "etc-cdi/vendor.json", **more: Any) -> Path:
    path = daemon.directory / name
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.write_text(json.dumps({"cdiVersion": "0.7.0", "kind": KIND, "devices": devices, **more}))
    return path


def run(daemon: Daemon, config: pb.ContainerConfig, handler: str = "", *, privileged: bool = False) -> str:
    pod = daemon.run_pod(handler=handler, host_network=True, privileged=privileged)
    container = daemon.create(pod, config)
    daemon.start_container(container)
    return container


def idle(*names: str, security: pb.LinuxContainerSecurityContext | None = None) -> pb.ContainerConfig:
    """A container that waits, with these CDI devices."""
    config = container_config("main", "sleep", "1000", security=security)
    config.CDI_devices.extend(pb.CDIDevice(name=f"{KIND}={name}") for name in names)
    return config


def sh(daemon: Daemon, container: str, script: str) -> str:
    answer = daemon.exec(container, "sh", "-c", script)
    return (answer.stdout + answer.stderr).decode()


def refused(daemon: Daemon, config: pb.ContainerConfig) -> tuple[grpc.StatusCode, str]:
    pod = daemon.run_pod(host_network=True)
    answer = refusal(lambda: daemon.create(pod, config))
    assert daemon.containers() == []
    return answer


# -- devices of the request


def test_permissions_are_the_cgroups(daemon: Daemon) -> None:
    device = next((path for path in ("/dev/fuse", "/dev/net/tun", "/dev/loop-control") if Path(path).exists()), None)
    if device is None:
        pytest.skip("no device that containers don't have anyway")
    config = idle()
    for name, permissions in (("r", "r"), ("rw", "rw"), ("all", "")):
        config.devices.add(host_path=device, container_path=f"/dev/deep/{name}", permissions=permissions)
    container = run(daemon, config)
    info = os.stat(device)
    numbers = f"{os.major(info.st_rdev):x},{os.minor(info.st_rdev):x}"
    assert sh(daemon, container, "cd /dev/deep; stat -c %n,%t,%T *").split() == [
        f"{name},{numbers}" for name in ("all", "r", "rw")
    ]  # fmt: skip
    config = idle()
    config.devices.add(host_path=device, container_path="/dev/mine", permissions="r")
    daemon.remove_container(container)
    container = run(daemon, config)
    assert (
        sh(daemon, container, "(: < /dev/mine) 2>/dev/null; echo $?; (: > /dev/mine) 2>/dev/null; echo $?") == "0\n1\n"
    )


def test_a_directory_of_devices(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "bus/deep").mkdir(parents=True)
    os.mknod(tmp_path / "bus/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(tmp_path / "bus/deep/zero", stat.S_IFCHR | 0o640, os.makedev(1, 5))
    (tmp_path / "bus/file").touch()
    (tmp_path / "link").symlink_to("bus")
    config = idle()
    config.devices.add(host_path=str(tmp_path / "link"), container_path="/dev/bus", permissions="rw")
    container = run(daemon, config)
    assert sh(daemon, container, "find /dev/bus -type c | sort; head -c 1 /dev/bus/deep/zero | wc -c").split() == [
        "/dev/bus/deep/zero", "/dev/bus/null", "1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"host_path": "/dev/nowhere"}, grpc.StatusCode.NOT_FOUND, "devices[0]: device /dev/nowhere: No such file"),
        ({"host_path": "/etc/hostname"}, grpc.StatusCode.INVALID_ARGUMENT, "/etc/hostname is not a device"),
        ({"host_path": "/etc"}, grpc.StatusCode.NOT_FOUND, "no device below /etc"),
        ({"host_path": "/dev/null", "permissions": "rx"}, grpc.StatusCode.INVALID_ARGUMENT, "'rx'"),
        ({"host_path": "null"}, grpc.StatusCode.INVALID_ARGUMENT, "host_path 'null' must be an absolute path"),
        ({"host_path": "/dev/null", "container_path": "x"}, grpc.StatusCode.INVALID_ARGUMENT, "container_path 'x'"),
    ],
)
def test_devices_that_can_not_be(daemon: Daemon, fields: dict[str, str], code: grpc.StatusCode, words: str) -> None:
    config = idle()
    config.devices.add(**fields)
    got, said = refused(daemon, config)
    assert (got, words in said) == (code, True), said


def test_ownership_from_the_security_context(daemon: Daemon) -> None:
    security = pb.LinuxContainerSecurityContext()
    security.run_as_user.value, security.run_as_group.value = 1000, 2000
    config = idle(security=security)
    config.devices.add(host_path="/dev/zero", container_path="/dev/mine", permissions="rw")
    container = run(daemon, config)
    assert sh(daemon, container, "stat -c %u:%g /dev/mine; head -c 1 /dev/mine | wc -c").split() == ["1000:2000", "1"]


def test_privileged_without_host_devices(daemon: Daemon) -> None:
    security = pb.LinuxContainerSecurityContext(privileged=True)
    count = "ls -l /dev | grep -c ^[bc]"
    everything = int(sh(daemon, run(daemon, idle(security=security), privileged=True), count))
    for pod in daemon.pods():
        daemon.remove_pod(pod.id)
    config = idle(security=security)
    config.devices.add(host_path="/dev/null", container_path="/dev/mine", permissions="rw")
    container = run(daemon, config, "bare", privileged=True)
    if (there := Path("/dev/kmsg")).exists():
        assert sh(daemon, container, f"ls {there} 2>/dev/null; true") == ""
    assert int(sh(daemon, container, count)) < everything
    assert "/dev/mine" in sh(daemon, container, "ls /dev/mine")


# -- CDI


def test_what_a_cdi_device_brings(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/vendor.so").write_text("library\n")
    state = tmp_path / "state.json"
    library = {"hostPath": str(tmp_path / "lib"), "containerPath": "/usr/lib/vendor", "options": ["ro", "nosuid"]}
    hook = {"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", 'cat > "$TO"'], "env": [f"TO={state}"]}
    write_spec(
        daemon,
        {"name": "a", "containerEdits": {
            "env": ["VISIBLE=a"], "additionalGids": [4242],
            "deviceNodes": [{"path": "/dev/vendor/a", "hostPath": "/dev/zero", "permissions": "rw", "fileMode": 432}],
        }},
        {"name": "b", "containerEdits": {"env": ["VISIBLE=b", "B=1"]}},
        containerEdits={"mounts": [library], "hooks": [hook]},
    )  # fmt: skip
    container = run(daemon, idle("a", "b"))
    assert sh(daemon, container, "echo $VISIBLE $B; id -G; cat /usr/lib/vendor/vendor.so").split() == [
        "b", "1", "0", "4242", "library",
    ]  # fmt: skip
    assert sh(daemon, container, "stat -c %t,%T,%a /dev/vendor/a; head -c 2 /dev/vendor/a | wc -c").split() == [
        "1,5,660", "2",
    ]  # fmt: skip
    assert "Read-only" in sh(daemon, container, "touch /usr/lib/vendor/x")
    assert json.loads(state.read_text())["id"] == container
    assert list(daemon.status(container).user.linux.supplemental_groups) == [0, 4242]


def test_devices_by_annotation(daemon: Daemon) -> None:
    """The kubelet's older form; those of the pod are its user's words and don't count."""
    write_spec(daemon, *({"name": name, "containerEdits": {"env": [f"{name}=1"]}} for name in ("A", "B", "C")))
    config = idle("A")
    config.annotations["cdi.k8s.io/plugin_1"] = f"{KIND}=B,{KIND}=A"
    pod = daemon.run_pod(host_network=True, annotations={"cdi.k8s.io/mine": f"{KIND}=C"})
    container = daemon.create(pod, config)
    daemon.start_container(container)
    assert sh(daemon, container, "echo $A$B$C") == "11\n"
    assert daemon.status(container).annotations["cdi.k8s.io/plugin_1"] == f"{KIND}=B,{KIND}=A"


def test_specifications_come_and_go(daemon: Daemon) -> None:
    code, words = refused(daemon, idle("a"))
    assert code == grpc.StatusCode.NOT_FOUND
    assert f"no CDI device {KIND}=a in {daemon.directory}/etc-cdi" in words
    path = write_spec(daemon, {"name": "a", "containerEdits": {"env": ["FROM=etc"]}})
    assert sh(daemon, run(daemon, idle("a")), "echo $FROM") == "etc\n"
    write_spec(daemon, {"name": "a", "containerEdits": {"env": ["FROM=run"]}}, name="run-cdi/x.yaml")
    daemon.remove_pod(daemon.pods()[0].id)
    assert sh(daemon, run(daemon, idle("a")), "echo $FROM") == "run\n"
    path.write_text("{")
    (daemon.directory / "run-cdi/x.yaml").unlink()
    daemon.remove_pod(daemon.pods()[0].id)
    assert f"{path}: not valid YAML or JSON" in refused(daemon, idle("a"))[1]


def test_a_verbose_status_lists_them(daemon: Daemon) -> None:
    write_spec(daemon, {"name": "a", "containerEdits": {"env": ["A=1"]}})
    bad = write_spec(daemon, name="run-cdi/bad.json")
    info = daemon.runtime.Status(pb.StatusRequest(verbose=True)).info
    found = json.loads(info["cdi"])
    assert found["devices"] == [f"{KIND}=a"]
    assert "no device" in found["problems"][str(bad)]


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"deviceNodes": [{"path": "/dev/nowhere"}]}, "CDI device node /dev/nowhere: No such file"),
        ({"mounts": [{"hostPath": "/nowhere", "containerPath": "/x"}]}, "CDI mount /nowhere: No such file"),
        ({"mounts": [{"hostPath": "/etc", "containerPath": "/proc/1/attr"}]}, "'/proc/1/attr' can't be mounted on"),
        ({"hooks": [{"hookName": "createRuntime", "path": "/bin/false"}]}, "hook"),
    ],
)  # fmt: skip
def test_devices_that_fail(daemon: Daemon, edits: dict[str, Any], words: str) -> None:
    write_spec(daemon, {"name": "a", "containerEdits": edits})
    assert words in refused(daemon, idle("a"))[1]


def test_a_name_that_is_not_full(daemon: Daemon) -> None:
    config = idle()
    config.CDI_devices.add(name="gpu0")
    code, words = refused(daemon, config)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "'gpu0' is not the full name of a CDI device" in words
