"""Names of cgroups from one syntax to the other."""

from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cgroup import naming


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.slice", "/a.slice"),
        ("kubepods-burstable-pod1_2.slice",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"),
    ],
)  # fmt: skip
def test_slices_expand_and_come_back(name: str, path: str) -> None:
    assert naming.expand_slice(name) == path
    assert naming.slice_of(path) == name


@pytest.mark.parametrize("name", ["", ".slice", "-.slice", "a-.slice", "-a.slice", "a--b.slice", "a b.slice", "a",
                                  "a/b.slice", "a\n.slice", "x" * 300 + ".slice"])  # fmt: skip
def test_what_is_no_slice(name: str) -> None:
    with pytest.raises(InvalidArgument, match="slice"):
        naming.expand_slice(name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/kubepods/burstable/pod1-2", "kubepods-burstable-pod1_2.slice"),
        ("/podwright", "podwright.slice"),
        ("/a.slice/b", "a.slice-b.slice"),
    ],
)
def test_paths_become_slices_by_the_kubelets_rule(path: str, name: str) -> None:
    assert naming.slice_of(path) == name
    naming.expand_slice(name)


def test_paths_are_made_normal() -> None:
    assert naming.check_path("kubepods//burstable/./x/") == "/kubepods/burstable/x"


@pytest.mark.parametrize("path", ["", "/", "/.", "/a/../b", "..", "/a\nb", "/a/\0", "/" + "x" * 256])
def test_paths_that_lead_elsewhere(path: str) -> None:
    with pytest.raises(InvalidArgument, match="cgroup_parent"):
        naming.check_path(path)
