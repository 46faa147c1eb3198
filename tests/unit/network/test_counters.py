"""/proc/net/dev as counters."""

from __future__ import annotations

from podwright.network.counters import InterfaceCounters, parse_net_dev

HEADER = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
"""  # noqa: E501


def test_interfaces_but_the_loopback() -> None:
    text = HEADER + (
        "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n"  # noqa: E501
        "  eth0: 18446744073709551615  12    3    4    5     6          7         8     9000      91   92   93    0     0       0          0\n"  # noqa: E501
        "  net1:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"  # noqa: E501
    )
    assert parse_net_dev(text) == [
        InterfaceCounters("eth0", 2**64 - 1, 12, 3, 4, 9000, 91, 92, 93),
        InterfaceCounters("net1", 0, 0, 0, 0, 0, 0, 0, 0),
    ]


def test_names_with_a_colon_and_numbers_without_a_space() -> None:
    assert parse_net_dev(HEADER + "eth0:1:7 6 5 4 0 0 0 0 3 2 1 9 0 0 0 0\n")[0] == InterfaceCounters(
        "eth0:1", 7, 6, 5, 4, 3, 2, 1, 9
    )


def test_no_interface() -> None:
    assert parse_net_dev(HEADER) == []
