"""Host ports in the words of nft; that the kernel takes them and does what they say is in tests/root."""

from __future__ import annotations

from podwright.network.base import Forward
from podwright.network.host_port_rules import elements, removal, table

ANY = Forward("tcp", 8080, "10.1.0.5", 80, near="10.1.0.0/16", device="br0")
SECOND = Forward("udp", 5353, "10.1.0.5", 53, near="10.1.0.0/16", device="br0")
SIX = Forward("sctp", 8080, "fd00::5", 80, host_ip="fd00::1", near="fd00::/64")


def test_elements() -> None:
    assert elements("t", "add", [ANY, SIX], ["br0"]).splitlines() == [
        "add element inet t ports4 { tcp . 8080 : 10.1.0.5 . 80 }",
        "add element inet t near4 { 10.1.0.0/16 . 10.1.0.5 }",
        "add element inet t near4 { 127.0.0.0/8 . 10.1.0.5 }",
        "add element inet t ports6_at { fd00::1 . sctp . 8080 : fd00::5 . 80 }",
        "add element inet t near6 { fd00::/64 . fd00::5 }",
        'add element inet t localnet { "br0" }',
    ]


def test_deletion_names_keys_only_and_nothing_twice() -> None:
    assert elements("t", "delete", [ANY, SECOND], []).splitlines() == [
        "delete element inet t ports4 { tcp . 8080 }",
        "delete element inet t near4 { 10.1.0.0/16 . 10.1.0.5 }",
        "delete element inet t near4 { 127.0.0.0/8 . 10.1.0.5 }",
        "delete element inet t ports4 { udp . 5353 }",
    ]


def test_a_table_is_replaced_as_a_whole() -> None:
    text = table("t", [ANY], ["br0"])
    assert text.startswith(removal("t"))
    assert text.endswith(elements("t", "add", [ANY], ["br0"]))
    assert text.count("{") == text.count("}")
