"""The tests of limits, with cgroup v2 and systemd under them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon
from tests.system.test_resources import (
    MB,
    test_all_limits_or_none,
    test_files_of_cgroup_v2,
    test_limits_are_changed_one_by_one,
    update,
)

__all__ = ["test_all_limits_or_none", "test_files_of_cgroup_v2", "test_limits_are_changed_one_by_one"]

pytestmark = pytest.mark.root


def test_huge_pages_are_limited(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(hugepage_limits=[pb.HugepageLimit(page_size="2MB", limit=4 * MB)])
    container = daemon.run_container(pod, "sleep", "1000", resources=resources)

    def limit() -> int:
        return int(daemon.exec(container, "cat", "/sys/fs/cgroup/hugetlb.2MB.max").stdout)

    assert limit() == 4 * MB
    update(daemon, container, hugepage_limits=[pb.HugepageLimit(page_size="2MB", limit=0)])
    assert limit() == 0


@pytest.mark.parametrize("test", [test_limits_are_changed_one_by_one, test_all_limits_or_none])
def test_limits_with_plain_files(cgroupfs_daemon: Daemon, test: Callable[[Daemon], None]) -> None:
    test(cgroupfs_daemon)
