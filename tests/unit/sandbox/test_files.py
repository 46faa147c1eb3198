from __future__ import annotations

from podwright.criapi import api_pb2 as pb
from podwright.sandbox.files import HOST_FILES, default_hosts, resolv_conf


def test_resolv_conf_has_what_was_asked_in_its_order() -> None:
    dns = pb.DNSConfig(servers=["2.2.2.2", "1.1.1.1"], searches=["b", "a"], options=["ndots:5", "edns0"])
    assert resolv_conf(pb.PodSandboxConfig(dns_config=dns)) == (
        b"search b a\nnameserver 2.2.2.2\nnameserver 1.1.1.1\noptions ndots:5 edns0\n"
    )


def test_resolv_conf_of_an_empty_request_is_empty_and_of_none_the_hosts() -> None:
    assert resolv_conf(pb.PodSandboxConfig(dns_config=pb.DNSConfig())) == b""
    host = HOST_FILES["resolv.conf"]
    assert resolv_conf(pb.PodSandboxConfig()) == (host.read_bytes() if host.exists() else b"")


def test_default_hosts_names_every_address() -> None:
    text = default_hosts("web", ("10.0.0.5", "fd00::5")).decode()
    assert "127.0.0.1\tlocalhost\n" in text
    assert text.endswith("10.0.0.5\tweb\nfd00::5\tweb\n")
