"""Real processes in real cgroups: v1 where this machine has it, and the v2 hierarchy, with or without controllers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from podwright.cgroup import detect
from podwright.cgroup.base import CgroupDriver, Limits, Settings
from podwright.cgroup.driver import Cgroups
from podwright.cgroup.v2 import CgroupV2
from podwright.linux import process
from tests.support import names

pytestmark = pytest.mark.root

FOUND = detect.hierarchies()


class Group:
    """A cgroup of this test's own, made by the driver under test, and processes in it."""

    def __init__(self, driver: CgroupDriver) -> None:
        self.driver = driver
        self.path = names.cgroup()
        self.children: list[process.Process] = []
        self.made: tuple[str, ...] = ()

    def make(self, below: str = "", limits: Limits | None = None) -> str:
        path = self.path + below
        self.made += self.driver.create_parent(path, limits)
        return path

    def run(self, script: str, path: str = "") -> process.Process:
        """A shell that has joined the cgroup in all hierarchies when it runs `script`."""
        kernel = self.driver._kernel  # type: ignore[attr-defined]
        joins = "".join(f"echo $$ > {d}/cgroup.procs; " for d in kernel.directories(path or self.path))
        child = process.spawn(["sh", "-ec", joins + script])
        self.children.append(child)
        return child

    async def joined(self, count: int, path: str = "") -> list[int]:
        async with asyncio.timeout(5):
            while len(pids := self.driver.processes(path or self.path)) < count:
                await asyncio.sleep(0.005)
        return pids

    async def close(self) -> None:
        await self.driver.kill_all(self.path)
        for child in self.children:
            await child.kill()
        assert self.driver.remove(self.made) == ()


class BareV2(CgroupV2):
    """On a hybrid machine the v2 root offers the controllers that v1 has no use for: they are left alone."""

    def prepare(self, directory: str) -> None:
        if FOUND.version == "v2":
            super().prepare(directory)


def v2_driver() -> Cgroups:
    return Cgroups(BareV2(FOUND.unified), version="v2", naming="cgroupfs", default_parent="/podwright")


@pytest.fixture(params=["this machine's", "v2"])
async def group(request: pytest.FixtureRequest) -> AsyncIterator[Group]:
    if request.param == "v2" and not FOUND.unified:
        pytest.skip("there is no v2 hierarchy")
    made = Group(v2_driver() if request.param == "v2" else detect.cgroup_driver(Settings(driver="cgroupfs")))
    yield made
    await made.close()


@pytest.fixture
async def limited() -> AsyncIterator[Group]:
    """On this machine's driver, with the controllers."""
    made = Group(detect.cgroup_driver(Settings(driver="cgroupfs")))
    yield made
    await made.close()


async def test_parents_in_every_hierarchy(group: Group) -> None:
    planned = group.driver.missing_parents(group.path + "/pod")
    group.make("/pod")
    assert group.made == planned
    assert all(Path(directory).is_dir() for directory in planned)
    assert group.driver.missing_parents(group.path + "/pod") == ()


async def test_processes_are_seen_and_killed(group: Group) -> None:
    for leaf in ("/one", "/two"):  # v2 wants processes in leaves only
        group.run("exec sleep 100", group.make(leaf))
    pids = await group.joined(2)
    assert sorted(pids) == sorted(child.pid for child in group.children)
    assert await group.joined(1, group.path + "/two") == [group.children[1].pid]
    await group.driver.kill_all(group.path)
    assert group.driver.processes(group.path) == []
    assert [await child.wait() for child in group.children] == [-9, -9]
    await group.driver.kill_all(group.path)


async def test_a_process_that_forks_all_the_time_is_killed(group: Group) -> None:
    group.make()
    group.run("i=0; while [ $i -lt 1000 ]; do sleep 100 & i=$((i+1)); done")
    await group.joined(20)
    await group.driver.kill_all(group.path)
    assert group.driver.processes(group.path) == []


async def test_a_frozen_cgroup_is_killed(group: Group) -> None:
    group.make()
    child = group.run("while :; do :; done")
    await group.joined(1)
    group.driver.set_frozen(group.path, frozen=True)
    await asyncio.sleep(0.02)
    before = cpu_ticks(child.pid)
    await asyncio.sleep(0.05)
    assert cpu_ticks(child.pid) == before
    await group.driver.kill_all(group.path)
    assert await child.wait() == -9


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


async def test_thawed_processes_go_on(group: Group) -> None:
    group.make()
    child = group.run("while :; do :; done")
    await group.joined(1)
    group.driver.set_frozen(group.path, frozen=True)
    group.driver.set_frozen(group.path, frozen=False)
    before = cpu_ticks(child.pid)
    async with asyncio.timeout(5):
        while cpu_ticks(child.pid) == before:
            await asyncio.sleep(0.01)


async def test_this_very_process_is_not_killed(group: Group) -> None:
    group.make()
    directories = group.driver._kernel.directories(group.path)  # type: ignore[attr-defined]
    homes = {d: _home_of_this_process(d.removesuffix(group.path)) for d in directories}
    try:
        for directory in directories:
            (Path(directory) / "cgroup.procs").write_text(str(os.getpid()))
        with pytest.raises(FailedPrecondition, match="holds this very process"):
            await group.driver.kill_all(group.path)
    finally:
        for home in homes.values():
            (Path(home) / "cgroup.procs").write_text(str(os.getpid()))


def _home_of_this_process(mount: str) -> str:
    own = {line.split(":")[1]: line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    controllers = [name for name, at in FOUND.controllers.items() if at == mount]
    key = next((k for k in own if k and set(k.split(",")) & set(controllers)), "")
    return mount + own[key]


async def test_a_cgroup_that_does_not_die_is_reported(limited: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    limited.make()
    limited.run("exec sleep 100")
    await limited.joined(1)
    with monkeypatch.context() as patch:
        patch.setattr(limited.driver._kernel, "kill", lambda _path: None)  # type: ignore[attr-defined]
        with pytest.raises(DeadlineExceeded, match=f"processes {limited.children[0].pid} of cgroup"):
            await limited.driver.kill_all(limited.path, timeout_s=0.05)


async def test_a_used_cgroup_is_not_removed(group: Group) -> None:
    group.make()
    group.run("exec sleep 100")
    await group.joined(1)
    assert group.driver.remove(group.made) == group.made


async def test_cpu_is_counted(group: Group) -> None:
    group.make()
    empty = group.driver.stats(group.path)
    assert empty is not None
    assert empty.cpu is not None
    assert empty.cpu.usage_ns == 0
    child = group.run("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done")
    assert await child.wait() == 0
    stats = group.driver.stats(group.path)
    assert stats is not None
    assert stats.cpu is not None
    assert stats.cpu.usage_ns > 1_000_000
    times = group.driver.details(group.path).cpu
    assert times is not None
    assert times.user_ns > 0
    if group.driver.version == "v2":
        # v1 samples user time at ticks, apart from the exact usage: on a busy machine they differ by several.
        assert stats.cpu.usage_ns >= times.user_ns
        assert stats.cpu.pressure is None or stats.cpu.pressure.some.total_us >= 0


async def test_memory_and_processes_are_counted_and_limited(limited: Group) -> None:
    limited.make(limits=Limits(512, 50_000, 100_000, 64 << 20, 20))
    limited.run("x=$(head -c 4000000 /dev/zero | tr '\\0' x); sleep 100")
    await limited.joined(1)
    async with asyncio.timeout(5):
        while True:
            stats = limited.driver.stats(limited.path)
            assert stats is not None
            assert stats.memory is not None
            if stats.memory.rss_bytes > 4_000_000:
                break
            await asyncio.sleep(0.01)
    assert stats.memory.limit_bytes == 64 << 20
    # memory.stat is summed from batches of each CPU, a little apart from the usage (memcg-v1: 5.5 and 5.6).
    assert stats.memory.usage_bytes >= stats.memory.working_set_bytes >= stats.memory.rss_bytes - (1 << 20)
    assert stats.memory.available_bytes < 64_000_000
    assert stats.memory.page_faults > 0
    details = limited.driver.details(limited.path)
    assert details.tasks is not None
    assert details.tasks.limit == 20
    assert 1 <= details.tasks.current <= 5, "the shell, its sleep, and for a moment the pipeline"
    assert (details.limits.cpu_quota_us, details.limits.cpu_period_us) == (50_000, 100_000)
    assert details.limits.memory_bytes == 64 << 20
    assert abs(details.limits.cpu_shares - 512) <= 28
    assert details.kernel_memory_bytes is not None


async def test_a_limit_the_kernel_refuses(limited: Group) -> None:
    with pytest.raises(InvalidArgument, match="the kernel refuses"):
        limited.make(limits=Limits(cpu_quota_us=1))
    assert limited.made == ()
    assert limited.driver.missing_parents(limited.path) != ()


async def test_out_of_memory_kills_are_counted(limited: Group) -> None:
    limited.make(limits=Limits(memory_bytes=8 << 20))
    assert limited.driver.oom_kills(limited.path) == 0
    child = limited.run("exec tail /dev/zero")
    assert await child.wait() == -9
    assert limited.driver.oom_kills(limited.path) == 1
    details = limited.driver.details(limited.path)
    assert details.oom_kills == 1
    assert (details.memory_failures or 0) > 0
    assert details.memory_peak_bytes is None or details.memory_peak_bytes > 7 << 20


async def test_two_pods_share_the_default_parent(limited: Group) -> None:
    parent = limited.path
    driver = detect.cgroup_driver(Settings(driver="cgroupfs", default_parent=parent))
    one, two = driver.pod_parent("", "one"), driver.pod_parent("", "two")
    first, second = driver.create_parent(one), driver.create_parent(two)
    assert set(driver.remove(first)) == {d for d in first if d.endswith(parent)}
    assert driver.remove(second) == ()
    assert driver.missing_parents(one) == first


async def test_discard_kills_and_removes(group: Group) -> None:
    group.make()
    inner = group.path + "/left"
    group.make("/left")
    group.run("exec sleep 100", inner)
    await group.joined(1, inner)
    for _ in range(2):
        await group.driver.discard(inner)
        assert group.driver.processes(inner) == []
        assert group.driver.missing_parents(group.path) == ()
        assert len(group.driver.missing_parents(inner)) > 0
