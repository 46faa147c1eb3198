"""crun and runc through their command line: the life cycle, its idempotence, and the errors people see."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from podwright.base.errors import DeadlineExceeded
from podwright.linux import pidfd
from podwright.oci.runtime_spec import Cpu, LinuxResources, Memory
from podwright.runtime.base import ContainerNotRunning, RuntimeFailed
from podwright.runtime.cli import CliRuntime
from tests.support.containers import Bench, container_config

pytestmark = pytest.mark.root


async def _status(bench: Bench, container_id: str) -> str | None:
    state = await bench.runtime.state(container_id)
    return state.status if state else None


async def test_life_cycle(bench: Bench) -> None:
    monitored = await bench.create(container_config("sleep", "100"))
    state = await bench.runtime.state(monitored.container_id)
    assert state is not None
    assert (state.status, state.pid, str(state.bundle)) == ("created", monitored.process.pid, monitored.bundle)
    await bench.runtime.start(monitored.container_id)
    assert await _status(bench, monitored.container_id) == "running"
    await bench.runtime.pause(monitored.container_id)
    await bench.runtime.pause(monitored.container_id)
    assert await _status(bench, monitored.container_id) == "paused"
    await bench.runtime.resume(monitored.container_id)
    await bench.runtime.resume(monitored.container_id)
    assert await _status(bench, monitored.container_id) == "running"
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL)
    await bench.monitor.wait_exit(monitored)
    assert await _status(bench, monitored.container_id) == "stopped"
    await bench.runtime.delete(monitored.container_id)
    assert await _status(bench, monitored.container_id) is None


async def test_kill_and_delete_of_the_dead_and_the_unknown_are_success(bench: Bench) -> None:
    monitored = await bench.run("true")
    await bench.monitor.wait_exit(monitored)
    await bench.runtime.kill(monitored.container_id, signal.SIGTERM)
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL, all_processes=True)
    for _ in range(2):
        await bench.runtime.delete(monitored.container_id, force=True)
        await bench.runtime.delete(monitored.container_id)
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL)
    await bench.runtime.kill("never-was", signal.SIGKILL)
    await bench.runtime.delete("never-was")


async def test_delete_of_a_running_container_needs_force(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    with pytest.raises(RuntimeFailed):
        await bench.runtime.delete(monitored.container_id)
    await bench.runtime.delete(monitored.container_id, force=True)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 137


async def test_start_is_for_created_containers_only(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    with pytest.raises(ContainerNotRunning, match="running"):
        await bench.runtime.start(monitored.container_id)
    with pytest.raises(ContainerNotRunning, match="unknown"):
        await bench.runtime.start("never-was")


async def test_signal_goes_to_the_process_directly_when_it_is_known(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL, process=monitored.process)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 137
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL, process=monitored.process)


async def test_kill_all_reaches_children(bench: Bench, tmp_path: Path) -> None:
    log = bench.directory / "log"
    monitored = await bench.run("sh", "-c", "sleep 200 & echo started; wait", log=log)
    async with asyncio.timeout(5):
        while "started" not in log.read_text():
            await asyncio.sleep(0.01)
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL, all_processes=True)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 137


async def test_update_changes_what_is_set_and_nothing_else(bench: Bench) -> None:
    config = container_config("sleep", "100")
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    config.linux.resources.cpu_shares = 512
    monitored = await bench.run(config=config)
    await bench.runtime.update(monitored.container_id, LinuxResources(memory=Memory(limit=96 << 20)))
    await bench.runtime.update(monitored.container_id, LinuxResources(cpu=Cpu(quota=50000, period=100000)))
    stats = bench.cgroups.stats(bench.cgroups.kernel_path(bench.parent, monitored.container_id))
    assert stats is not None
    assert stats.memory is not None
    assert stats.memory.limit_bytes == 96 << 20
    directory = Path("/sys/fs/cgroup/cpu") / bench.parent.lstrip("/") / monitored.container_id
    if directory.exists():
        assert (directory / "cpu.shares").read_text().strip() == "512"
        assert (directory / "cpu.cfs_quota_us").read_text().strip() == "50000"


async def test_pause_of_the_dead_is_an_error(bench: Bench) -> None:
    monitored = await bench.run("true")
    await bench.monitor.wait_exit(monitored)
    with pytest.raises(ContainerNotRunning):
        await bench.runtime.pause(monitored.container_id)


async def test_a_runtime_that_hangs_is_killed(bench: Bench) -> None:
    script = bench.directory / "hang"
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    root = bench.directory / "hang-root"
    (root / "some-container").mkdir(parents=True)
    hanging = CliRuntime(script, root, bench.directory, timeout_s=0.2)
    with pytest.raises(DeadlineExceeded, match="some-contain"):
        await hanging.start("some-container")


async def test_features(bench: Bench) -> None:
    features = await bench.runtime.features()
    assert features.name == bench.handler
    assert features.version[0].isdigit()
    assert features.compiled_seccomp == (bench.handler == "crun")
    assert await bench.runtime.features() is features


async def test_runtimes_own_process_survives_nothing(bench: Bench) -> None:
    """The created process is the monitor's child, so that the monitor reaps it."""
    monitored = await bench.run("sleep", "100")
    status = Path(f"/proc/{monitored.process.pid}/status").read_text()
    assert f"PPid:\t{monitored.monitor.pid}\n" in status
    assert pidfd.is_alive(monitored.process)
