from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.errors import InvalidArgument
from podwright.sandbox.sysctls import check_sysctls


def test_namespaced_sysctls_pass() -> None:
    asked = {
        "net.ipv4.ip_forward": "1",
        "kernel.shm_rmid_forced": "1",
        "fs.mqueue.msg_max": "10",
        "kernel.sem": "1 2 3\t4",
    }
    assert check_sysctls(asked, host_network=False, host_ipc=False) == asked


def test_slashes_are_an_accepted_spelling() -> None:
    """The first separator is the separator: sysctl(8)."""
    for spelling in ("net/ipv4/conf/eth0.100/forwarding", "net.ipv4.conf.eth0/100.forwarding"):
        checked = check_sysctls({spelling: "1"}, host_network=False, host_ipc=False)
        assert checked == {"net.ipv4.conf.eth0/100.forwarding": "1"}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("kernel.core_pattern", "core", "not namespaced"),
        ("vm.swappiness", "1", "not namespaced"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x", "characters"),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/x", "characters"),
        ("net.ipv4.ip_forward=1+kernel.core_pattern", "|/x", "not a sysctl name"),
        ("net", "1", "not a sysctl name"),
        ("../../etc/passwd", "x", "not a sysctl name"),
        ("net/../kernel/core_pattern", "x", "not a sysctl name"),
    ],
)
def test_what_would_reach_the_host_is_refused(key: str, value: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_sysctls({key: value}, host_network=False, host_ipc=False)


def test_a_shared_namespace_is_not_the_pods_to_set() -> None:
    with pytest.raises(InvalidArgument, match="network namespace"):
        check_sysctls({"net.ipv4.ip_forward": "1"}, host_network=True, host_ipc=False)
    with pytest.raises(InvalidArgument, match="IPC namespace"):
        check_sysctls({"kernel.msgmax": "1"}, host_network=False, host_ipc=True)


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_passes_that_could_mean_two_things(key: str, value: str) -> None:
    try:
        checked = check_sysctls({key: value}, host_network=False, host_ipc=False)
    except InvalidArgument:
        return
    for name, setting in checked.items():
        assert name.startswith(("net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."))
        assert not set(name + setting) & set("+=\n\0|")
        assert ".." not in name
