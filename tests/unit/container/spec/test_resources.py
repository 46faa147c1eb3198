"""CRI limits in OCI's words: what is zero is not set."""

from __future__ import annotations

import msgspec
import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import HostFacts
from podwright.container.spec.resources import linux_resources, updated_resources
from podwright.criapi import api_pb2 as pb

HOST = HostFacts(capabilities=frozenset())


def as_json(resources: pb.LinuxContainerResources, host: HostFacts = HOST) -> object:
    return msgspec.json.decode(msgspec.json.encode(linux_resources(resources, host)))


def given(**fields: object) -> pb.LinuxContainerResources:
    return pb.LinuxContainerResources(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"memory_limit_in_bytes": 5}, {"memory": {"limit": 5}}),
        ({"memory_limit_in_bytes": 5, "memory_swap_limit_in_bytes": 5}, {"memory": {"limit": 5, "swap": 5}}),
        ({"memory_swap_limit_in_bytes": -1}, {"memory": {"swap": -1}}),
        ({"cpu_shares": 2}, {"cpu": {"shares": 2}}),
        ({"cpu_quota": -1, "cpu_period": 1000}, {"cpu": {"quota": -1, "period": 1000}}),
        ({"cpuset_cpus": "0-1,3"}, {"cpu": {"cpus": "0-1,3"}}),
        ({"cpuset_mems": "0"}, {"cpu": {"mems": "0"}}),
        ({"oom_score_adj": 7}, {}),  # the process's, not the cgroup's
        ({"unified": {"memory.oom.group": "1"}}, {"unified": {"memory.oom.group": "1"}}),
        (
            {"hugepage_limits": [pb.HugepageLimit(page_size="2MB", limit=0)]},
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]},
        ),
    ],
)
def test_what_is_set(fields: dict[str, object], expected: object) -> None:
    assert as_json(given(**fields)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"memory_limit_in_bytes": -1},
        {"memory_limit_in_bytes": 10, "memory_swap_limit_in_bytes": 5},
        {"memory_swap_limit_in_bytes": -2},
        {"memory_swap_limit_in_bytes": 5},
        {"cpu_quota": -2},
        {"cpu_shares": -1},
        {"cpu_period": -5},
        {"cpu_period": 999},
        {"cpu_period": 1_000_001},
        {"cpu_quota": 999},
        {"cpu_quota": 1 << 44},
        {"cpuset_cpus": "0; rm"},
        {"cpuset_mems": "../x"},
        {"unified": {"../memory.max": "1"}},
        {"unified": {"memory/max": "1"}},
        {"unified": {"cgroup": "1"}},
        {"hugepage_limits": [pb.HugepageLimit(page_size="2mb", limit=1)]},
        {"hugepage_limits": [pb.HugepageLimit(page_size="../2MB", limit=1)]},
    ],
)
def test_what_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=r"linux\.resources"):
        as_json(given(**fields))


def test_what_the_kernel_can_not_limit_is_left_out() -> None:
    fields = {
        "hugepage_limits": [pb.HugepageLimit(page_size="2MB", limit=0)],
        "memory_limit_in_bytes": 5,
        "memory_swap_limit_in_bytes": 5,
    }
    without = HostFacts(capabilities=frozenset(), hugepage_limits=False, swap_limits=False)
    assert as_json(given(**fields), without) == {"memory": {"limit": 5}}
    with pytest.raises(InvalidArgument, match="page size"):
        as_json(given(hugepage_limits=hugepages(two=0)), without)


def hugepages(**limits: int) -> list[pb.HugepageLimit]:
    return [pb.HugepageLimit(page_size=size.removeprefix("of_"), limit=limit) for size, limit in limits.items()]


@pytest.mark.parametrize(
    ("current", "change", "expected"),
    [
        ({"cpu_shares": 2, "cpu_quota": 5}, {"cpu_shares": 3}, {"cpu_shares": 3, "cpu_quota": 5}),
        ({"cpuset_cpus": "0"}, {}, {"cpuset_cpus": "0"}),
        ({"oom_score_adj": 7}, {"oom_score_adj": 9}, {"oom_score_adj": 7}),
        (
            {"unified": {"memory.high": "1", "memory.min": "2"}},
            {"unified": {"memory.high": "3"}},
            {"unified": {"memory.high": "3", "memory.min": "2"}},
        ),
        (
            {"hugepage_limits": hugepages(of_2MB=1, of_1GB=2)},
            {"hugepage_limits": hugepages(of_2MB=3)},
            {"hugepage_limits": hugepages(of_1GB=2, of_2MB=3)},
        ),
    ],
)
def test_an_update_changes_what_it_sets(
    current: dict[str, object], change: dict[str, object], expected: dict[str, object]
) -> None:
    before, asked = given(**current), given(**change)
    assert updated_resources(before, asked) == given(**expected)
    assert (before, asked) == (given(**current), given(**change)), "neither is changed in place"


@pytest.mark.parametrize(
    ("swap_before", "asked", "swap_after"),
    [
        (100, {"memory_limit_in_bytes": 50}, 50),  # none stays none
        (150, {"memory_limit_in_bytes": 200}, 250),
        (-1, {"memory_limit_in_bytes": 200}, -1),
        (0, {"memory_limit_in_bytes": 200}, 0),
        (100, {"memory_limit_in_bytes": 50, "memory_swap_limit_in_bytes": 70}, 70),
        (100, {"memory_swap_limit_in_bytes": 300}, 300),
    ],
)
def test_a_memory_limit_alone_keeps_the_amount_of_swap(
    swap_before: int, asked: dict[str, object], swap_after: int
) -> None:
    before = given(memory_limit_in_bytes=100, memory_swap_limit_in_bytes=swap_before)
    assert updated_resources(before, given(**asked)).memory_swap_limit_in_bytes == swap_after
