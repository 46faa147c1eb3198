"""The pod's own fields: what is understood, what is warned of, what is refused."""

from typing import Any

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.model import Dns, HostAlias
from tests.unit.cli.manifest.pods import pod


def test_pod_level_fields() -> None:
    made = pod(
        {
            "hostname": "h", "subdomain": "s", "hostPID": True, "hostIPC": True, "hostUsers": True,
            "terminationGracePeriodSeconds": 0, "runtimeClassName": "gvisor", "restartPolicy": "Never",
            "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["a", "b"]}],
            "dnsPolicy": "None",
            "dnsConfig": {
                "nameservers": ["1.1.1.1"], "searches": ["x.y"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            },
        }
    )  # fmt: skip
    assert (made.hostname, made.subdomain, made.runtime_class, made.grace_s) == ("h", "s", "gvisor", 0)
    assert (made.host_pid, made.host_ipc, made.host_network) == (True, True, False)
    assert made.host_aliases == (HostAlias("10.9.9.9", ("a", "b")),)
    assert made.dns == Dns("None", ("1.1.1.1",), ("x.y",), ("ndots:2", "edns0"))


def test_what_a_cluster_would_do_is_warned_of() -> None:
    warnings: list[str] = []
    pod(
        {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "x"}], "affinity": {}, "restartPolicy": "OnFailure"},
        {"livenessProbe": {"exec": {}}, "lifecycle": {"preStop": {}}},
        warnings,
    )
    assert warnings == [
        "spec.nodeSelector: placing pods on nodes is the scheduler's work; ignored",
        "spec.tolerations: placing pods on nodes is the scheduler's work; ignored",
        "spec.containers[0].livenessProbe: probes are the kubelet's work; ignored",
        "spec.containers[0].lifecycle: hooks are the kubelet's work; ignored",
        "spec.restartPolicy: nothing supervises a played pod: what ends is not started again",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"contaners": []}, r"spec.contaners: unknown field; did you mean containers\?"),
        ({"containers": []}, "spec.containers: at least one is required"),
        ({"hostUsers": False}, "spec.hostUsers: a user namespace"),
        ({"ephemeralContainers": [{"name": "x"}]}, "spec.ephemeralContainers: these are added"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy: must be one of"),
        ({"hostname": "UPPER"}, "spec.hostname: 'UPPER' must be"),
        ({"dnsPolicy": "None"}, "spec.dnsConfig: is required"),
        ({"dnsPolicy": "None", "dnsConfig": {}}, "spec.dnsConfig.nameservers: at least one"),
        (
            {"dnsConfig": {"nameservers": ["dns.example"]}},
            r"spec.dnsConfig.nameservers\[0\]: 'dns.example' is not an IP",
        ),
        ({"hostAliases": [{"ip": "x"}]}, r"spec.hostAliases\[0\].ip: 'x' is not an IP address"),
        (
            {"hostAliases": [{"ip": "::1", "hostnames": ["a b"]}]},
            r"spec.hostAliases\[0\].hostnames\[0\]: 'a b' is not a host name",
        ),
        ({"hostPID": True, "shareProcessNamespace": True}, "spec.shareProcessNamespace: can't go together"),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, "spec.volumes: the name 'a' is used twice"),
        ({"initContainers": [{"name": "web", "image": "x"}]}, "spec.containers: the name 'web' is used twice"),
        ({"initContainers": [{"name": "W_b", "image": "x"}]}, r"spec.initContainers\[0\].name: 'W_b' must be"),
        (
            {"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net/core/somaxconn", "value": "1"}]}},
            "spec.securityContext.sysctls: net.core.somaxconn would change the host's network",
        ),
        (
            {
                "hostNetwork": True,
                "containers": [{"name": "w", "image": "x", "ports": [{"containerPort": 1, "hostPort": 2}]}],
            },
            r"spec.containers\[0\].ports\[0\].hostPort: must equal containerPort",
        ),
    ],
)
def test_what_is_wrong_is_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{message}"):
        pod(spec)
