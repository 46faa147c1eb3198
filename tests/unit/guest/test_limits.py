"""OCI resources as files of cgroup v2."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.guest import limits
from podwright.guest.failures import Failure

MIB = 1 << 20


@pytest.mark.parametrize(
    ("resources", "files"),
    [
        ({}, {}),
        ({"memory": {"limit": 64 * MIB}}, {"memory.max": str(64 * MIB)}),
        ({"memory": {"limit": -1, "swap": -1}}, {"memory.swap.max": "max", "memory.max": "max"}),
        ({"memory": {"limit": MIB, "swap": 3 * MIB}}, {"memory.swap.max": str(2 * MIB), "memory.max": str(MIB)}),
        ({"memory": {"reservation": MIB}}, {"memory.low": str(MIB)}),
        ({"cpu": {"shares": 2}}, {"cpu.weight": "1"}),
        ({"cpu": {"shares": 1024}}, {"cpu.weight": "39"}),
        ({"cpu": {"shares": 262144}}, {"cpu.weight": "10000"}),
        ({"cpu": {"quota": 50000}}, {"cpu.max": "50000 100000"}),
        ({"cpu": {"quota": -1, "period": 20000}}, {"cpu.max": "max 20000"}),
        ({"cpu": {"cpus": "0-1", "mems": "0", "idle": 1}}, {"cpu.idle": "1", "cpuset.cpus": "0-1", "cpuset.mems": "0"}),
        ({"pids": {"limit": 10}}, {"pids.max": "10"}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}, {"hugetlb.2MB.max": "0"}),
        ({"unified": {"memory.high": "1000"}}, {"memory.high": "1000"}),
    ],
)  # fmt: skip
def test_files(resources: dict[str, Any], files: dict[str, str]) -> None:
    assert limits.files(resources) == files


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"memory": {"limit": "64m"}}, "resources.memory.limit: '64m' is not a number"),
        ({"cpu": []}, "resources.cpu: '[]' is not an object"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8}]}}, "resources.blockIO.throttleReadBpsDevice"),
    ],
)
def test_what_is_wrong_is_named(resources: dict[str, Any], words: str) -> None:
    with pytest.raises(Failure) as failed:
        limits.files(resources)
    assert words in str(failed.value)
