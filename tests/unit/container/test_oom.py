"""Who was killed for want of memory, where the counter of its own cgroup is gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.container.oom import OomKills

POD = "/kubepods.slice/kubepods-podX.slice"


class Pod:
    """Two containers of a pod, and what the kernel counts for each cgroup."""

    def __init__(self, *, subgroup: str = "") -> None:
        paths = {name: f"{POD}/podwright-{name}.scope{subgroup}" for name in "ab"}
        self.containers = {
            name: cast("Container", SimpleNamespace(record=SimpleNamespace(sandbox_id="s", cgroup=path)))
            for name, path in paths.items()
        }
        self.counters: dict[str, int] = {POD: 0, **dict.fromkeys(paths.values(), 0)}
        on = SimpleNamespace(
            cgroups=SimpleNamespace(naming="systemd", oom_kills=self.counters.get),
            containers=SimpleNamespace(of_sandbox=lambda _id: list(self.containers.values())),
        )
        self.kills = OomKills(cast("Collaborators", on))
        for container in self.containers.values():
            self.kills.watch(container)

    def kill(self, name: str, *, gone: bool) -> None:
        path = self.containers[name].record.cgroup
        self.counters[POD] += 1
        self.counters[path] += 1
        if gone:
            del self.counters[path]

    def ends(self, name: str) -> bool:
        return self.kills.killed(self.containers[name])


@pytest.mark.parametrize("subgroup", ["", "/container"])
def test_the_pods_counter_tells_of_the_dead(subgroup: str) -> None:
    pod = Pod(subgroup=subgroup)
    pod.kill("a", gone=True)
    assert pod.ends("a")
    del pod.counters[pod.containers["b"].record.cgroup]
    assert not pod.ends("b"), "the kill is a's"


def test_its_own_counter_comes_first() -> None:
    pod = Pod()
    pod.kill("a", gone=False)
    assert pod.ends("a")
    assert not pod.ends("b")


def test_what_the_living_count_is_theirs() -> None:
    pod = Pod()
    pod.kill("b", gone=False)
    del pod.counters[pod.containers["a"].record.cgroup]
    assert not pod.ends("a"), "a child of b was killed, and a by somebody else"
    del pod.counters[pod.containers["b"].record.cgroup]
    assert pod.ends("b")


def test_a_pod_that_is_forgotten_is_settled_anew() -> None:
    pod = Pod()
    pod.kill("a", gone=True)
    assert pod.ends("a")
    last = pod.containers.pop("b")
    pod.kills.forget(pod.containers["a"])
    pod.containers["b"] = last
    pod.kills.watch(last)
    del pod.counters[last.record.cgroup]
    assert not pod.ends("b")
