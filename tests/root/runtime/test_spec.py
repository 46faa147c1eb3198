"""Specifications as real runtimes take them: what the container then finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.container.spec.facts import SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from tests.support.containers import Bench, container_config

pytestmark = pytest.mark.root


async def output(bench: Bench, config: pb.ContainerConfig, *, sandbox: SandboxFacts | None = None) -> str:
    """What the container wrote to its standard output until it ended, and its exit code as the last line."""
    log = bench.directory / "log"
    log.unlink(missing_ok=True)
    monitored = await bench.create(config, log=log, sandbox=sandbox)
    await bench.runtime.start(monitored.container_id)
    ended = await bench.monitor.wait_exit(monitored)
    await bench.remove(monitored.container_id)
    lines = [line.split(" ", 3) for line in log.read_text().splitlines()]
    text = "\n".join(words[3] for words in lines if words[1] == "stdout")
    return f"{text}\n{ended.exit_code}"


def shell(script: str) -> pb.ContainerConfig:
    return container_config("sh", "-c", script)


async def test_identity_environment_and_directory(bench: Bench) -> None:
    config = shell("id -u; id -g; id -G; pwd; echo $HOME $GREETING; cat /proc/self/oom_score_adj")
    config.working_dir = "/home"
    config.envs.add(key="GREETING", value="grüß dich".encode())
    config.linux.resources.oom_score_adj = 500
    config.linux.security_context.run_as_user.value = 1000
    config.linux.security_context.supplemental_groups.append(1234)
    lines = (await output(bench, config)).splitlines()
    assert lines == ["1000", "1000", "1000 1234 50000", "/home", "/home/web grüß dich", "500", "0"]


async def test_capabilities(bench: Bench) -> None:
    config = shell("grep Cap /proc/self/status")
    context = config.linux.security_context
    context.capabilities.drop_capabilities.append("ALL")
    context.capabilities.add_capabilities.append("net_admin")
    found = dict(line.split(":\t") for line in (await output(bench, config)).splitlines()[:-1])
    assert found["CapInh"] == "0" * 16
    assert {found[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {f"{1 << 12:016x}"}
    context.run_as_user.value = 1000
    found = dict(line.split(":\t") for line in (await output(bench, config)).splitlines()[:-1])
    assert (found["CapEff"], found["CapBnd"]) == ("0" * 16, f"{1 << 12:016x}")
    context.capabilities.add_ambient_capabilities.append("NET_ADMIN")
    found = dict(line.split(":\t") for line in (await output(bench, config)).splitlines()[:-1])
    assert found["CapEff"] == found["CapAmb"] == f"{1 << 12:016x}"


async def test_paths_that_are_hidden(bench: Bench) -> None:
    write = "(echo 1 > /proc/sys/kernel/hostname) 2>/dev/null; echo $?"
    config = shell(f"cat /proc/timer_list | wc -c; {write}; touch /x; echo $?")
    context = config.linux.security_context
    context.masked_paths.extend(["/proc/timer_list", "/proc/not-there"])
    context.readonly_paths.append("/proc/sys")
    context.readonly_rootfs = True
    assert (await output(bench, config)).splitlines() == ["0", "1", "1", "0"]


async def test_privileged(bench: Bench) -> None:
    config = shell("ls /dev/null /dev/kmsg; grep -c . /proc/timer_list >/dev/null; grep Seccomp: /proc/self/status")
    config.linux.security_context.privileged = True
    config.linux.security_context.masked_paths.append("/proc/timer_list")
    lines = (await output(bench, config)).splitlines()
    assert lines[-2:] == ["Seccomp:\t0", "0"]
    assert "/dev/kmsg" in lines


async def test_files_of_the_pod_and_mounts_of_the_request(bench: Bench, tmp_path: Path) -> None:
    for name in ("hosts", "resolv.conf", "hostname", "mine"):
        (tmp_path / name).write_text(f"{name} of the pod\n")
    (tmp_path / "shm").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_text("deep\n")
    sandbox = SandboxFacts(
        id="s", name="p", namespace="n", uid="u", hosts=tmp_path / "hosts", shm=tmp_path / "shm",
        resolv_conf=tmp_path / "resolv.conf", hostname_file=tmp_path / "hostname",
    )  # fmt: skip
    files = "/etc/hosts /etc/resolv.conf /etc/hostname /a/b/deep/file"
    config = shell(f"cat {files}; touch /dev/shm/x; echo $?; touch /a/b/y; echo $?")
    config.mounts.add(container_path="/a/b/deep", host_path=str(tmp_path / "deep"), readonly=True)
    config.mounts.add(container_path="/a/b", host_path=str(tmp_path / "new"))
    config.mounts.add(container_path="/etc/hosts", host_path=str(tmp_path / "mine"), readonly=True)
    lines = (await output(bench, config, sandbox=sandbox)).splitlines()
    assert lines == ["mine of the pod", "resolv.conf of the pod", "hostname of the pod", "deep", "0", "0", "0"]
    assert (tmp_path / "shm/x").exists()
    assert (tmp_path / "new/y").exists()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A directory with a file system mounted inside."""
    (tmp_path / "volume/inner").mkdir(parents=True)
    mounts.tmpfs(tmp_path / "volume/inner", size_bytes=4096 * 4)
    yield tmp_path / "volume"
    mounts.unmount(tmp_path / "volume/inner")


@pytest.mark.parametrize("recursive", [False, True])
async def test_read_only_mounts(bench: Bench, volume: Path, recursive: bool) -> None:
    if recursive and not (await bench.runtime.features()).recursive_read_only_mounts:
        pytest.skip("this version can't")
    config = shell("touch /mnt/x 2>/dev/null; echo $?; touch /mnt/inner/x 2>/dev/null; echo $?")
    config.mounts.add(container_path="/mnt", host_path=str(volume), readonly=True, recursive_read_only=recursive)
    assert (await output(bench, config)).splitlines() == ["1", "1" if recursive else "0", "0"]


async def test_devices(bench: Bench) -> None:
    device = next((path for path in ("/dev/fuse", "/dev/net/tun", "/dev/loop-control") if Path(path).exists()), None)
    if device is None:
        pytest.skip("no device to try")
    config = shell("(: < /dev/mine) 2>/dev/null; echo $?; (: > /dev/mine) 2>/dev/null; echo $?")
    config.devices.add(host_path=device, container_path="/dev/mine", permissions="r")
    assert (await output(bench, config)).splitlines() == ["0", "1", "0"]


async def test_resources(bench: Bench) -> None:
    config = shell("true")
    resources = config.linux.resources
    resources.memory_limit_in_bytes = resources.memory_swap_limit_in_bytes = 64 << 20
    resources.cpu_quota, resources.cpu_period, resources.cpu_shares = 50000, 100000, 512
    resources.cpuset_cpus = "0"
    assert (await output(bench, config)).splitlines() == ["", "0"]


async def test_working_directory_through_the_runtimes_descriptors(bench: Bench) -> None:
    """CVE-2024-21626: a link in the image that leads to what the runtime has open."""
    for number in range(3, 12):
        config = shell("cat /proc/self/mountinfo > /dev/null; ls ../../../etc 2>/dev/null | head -c 300")
        config.working_dir = f"/link/{number}"
        link = bench.rootfs / "link"
        link.unlink(missing_ok=True)
        link.symlink_to("/proc/self/fd")
        try:
            found = await output(bench, config)
        except Exception:
            continue
        finally:
            link.unlink()
        assert "shadow" not in found


async def test_terminal_and_target_namespace(bench: Bench) -> None:
    target = await bench.run("sleep", "100")
    config = shell("readlink /proc/self/ns/pid")
    config.linux.security_context.namespace_options.pid = pb.NODE
    assert str(Path("/proc/self/ns/pid").readlink()) in await output(bench, config)
    config.linux.security_context.namespace_options.pid = pb.CONTAINER
    own = await output(bench, config)
    assert str(Path(f"/proc/{target.process.pid}/ns/pid").readlink()) not in own
