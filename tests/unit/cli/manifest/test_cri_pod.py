"""PodSandboxConfig, resolv.conf and /etc/hosts."""

from podwright.cli.manifest.cri_pod import (
    MANIFEST_HASH,
    PLAYED,
    dns_config,
    etc_hosts,
    hostname,
    parse_resolv_conf,
    sandbox_config,
)
from podwright.criapi import api_pb2 as pb
from tests.unit.cli.manifest.pods import HOST, instance, pod


def test_sandbox_config() -> None:
    made = pod(
        {"securityContext": {"sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "0"}]}},
        {"ports": [{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]},
    )
    config = sandbox_config(made, HOST, instance(made), "h" * 64)
    assert config.metadata == pb.PodSandboxMetadata(name="hello", namespace="default", uid="u-1")
    assert config.hostname == "hello"
    assert config.log_directory == "/state/logs"
    assert not config.HasField("dns_config")
    assert list(config.port_mappings) == [
        pb.PortMapping(container_port=80),
        pb.PortMapping(protocol=pb.UDP, container_port=53, host_port=5353),
    ]
    assert dict(config.labels) == {
        "app": "x", "io.kubernetes.pod.name": "hello", "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": "u-1", PLAYED: "true",
    }  # fmt: skip
    assert dict(config.annotations) == {"note": "y", MANIFEST_HASH: "h" * 64}
    assert dict(config.linux.sysctls) == {"net.ipv4.tcp_syncookies": "0"}
    assert config.linux.security_context.namespace_options.pid == pb.CONTAINER


def test_on_the_hosts_network() -> None:
    made = pod({"hostNetwork": True}, {"ports": [{"containerPort": 80, "hostPort": 80}]})
    config = sandbox_config(made, HOST, instance(made, ips=()), "")
    assert config.hostname == ""
    assert not config.port_mappings


def test_host_names() -> None:
    assert hostname(pod({"hostname": "h"})) == "h"
    long = pod()
    object.__setattr__(long, "name", "a" * 62 + ".b")
    assert hostname(long) == "a" * 62


def test_dns_is_the_hosts_unless_the_pod_has_its_own() -> None:
    assert dns_config(pod(), HOST) is None
    assert dns_config(pod({"dnsPolicy": "Default"}), HOST) is None
    config = {"nameservers": ["1.1.1.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "5"}]}
    assert dns_config(pod({"dnsPolicy": "None", "dnsConfig": config}), HOST) == pb.DNSConfig(
        servers=["1.1.1.1"], searches=["a.b"], options=["ndots:5"]
    )
    assert dns_config(pod({"dnsConfig": config}), HOST) == pb.DNSConfig(
        servers=["10.0.0.1", "1.1.1.1"], searches=["example.org", "a.b"], options=["ndots:5", "edns0"]
    )
    many = {"nameservers": [f"1.1.1.{n}" for n in range(1, 6)]}
    made = dns_config(pod({"dnsConfig": many}), HOST)
    assert made is not None
    assert len(made.servers) == 3


def test_resolv_conf() -> None:
    text = "# comment\nnameserver 1.1.1.1\nnameserver\ndomain old\nsearch a b\noptions x:1 y\nsortlist 1.2.3.4\n"
    assert parse_resolv_conf(text) == pb.DNSConfig(servers=["1.1.1.1"], searches=["a", "b"], options=["x:1", "y"])
    assert parse_resolv_conf("") == pb.DNSConfig()


def test_etc_hosts() -> None:
    made = pod({"subdomain": "s", "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["db", "cache"]}]})
    lines = etc_hosts(made, HOST, ["10.85.0.7", "fd00::7"]).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-3:] == [
        "10.85.0.7\thello.s.default.svc hello", "fd00::7\thello.s.default.svc hello", "10.9.9.9\tdb cache"
    ]  # fmt: skip


def test_etc_hosts_of_the_host() -> None:
    made = pod({"hostNetwork": True, "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["db"]}]})
    assert etc_hosts(made, HOST, []) == "127.0.0.1 localhost node1\n10.9.9.9\tdb\n"
