"""CRI limits in OCI's words: what is zero is not set."""

from __future__ import annotations

import msgspec
import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.spec.resources import linux_resources
from podwright.criapi import api_pb2 as pb


def as_json(**fields: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(linux_resources(pb.LinuxContainerResources(**fields))))  # type: ignore[arg-type]


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
    assert as_json(**fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"memory_limit_in_bytes": -1},
        {"memory_limit_in_bytes": 10, "memory_swap_limit_in_bytes": 5},
        {"memory_swap_limit_in_bytes": -2},
        {"cpu_quota": -2},
        {"cpu_shares": -1},
        {"cpu_period": -5},
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
        as_json(**fields)
