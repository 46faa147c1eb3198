"""From a pod of a manifest to PodSandboxConfig, and the pod's /etc/hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from podwright.cli.manifest.cri_resources import pod_resources
from podwright.cli.manifest.cri_security import sandbox_security
from podwright.cli.manifest.facts import Host, Instance
from podwright.cli.manifest.model import Pod
from podwright.criapi import api_pb2 as pb

# The labels that every tool around the kubelet looks for.
POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
# Ours: which pods were played, and from what.
PLAYED = "io.podwright.play"
MANIFEST_HASH = "io.podwright.play.manifest"

# Limits of resolv.conf(5) as glibc has them since 2.26, and of the kubelet.
_MOST_SERVERS = 3
_MOST_SEARCHES = 32
_HOSTNAME_LENGTH = 63
_PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP}

_LOOPBACK = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)


def sandbox_config(pod: Pod, host: Host, instance: Instance, manifest_hash: str) -> pb.PodSandboxConfig:
    """What RunPodSandbox and CreateContainer need to know of the pod."""
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=pod.name, namespace=pod.namespace, uid=instance.uid),
        hostname="" if pod.host_network else hostname(pod),
        log_directory=str(instance.log_directory),
        dns_config=dns_config(pod, host),
        port_mappings=[] if pod.host_network else port_mappings(pod),
        labels={**pod.labels, **pod_labels(pod, instance), PLAYED: "true"},
        annotations={**pod.annotations, MANIFEST_HASH: manifest_hash},
        linux=pb.LinuxPodSandboxConfig(
            security_context=sandbox_security(pod), sysctls=pod.security.sysctls, resources=pod_resources(pod)
        ),
    )


def pod_labels(pod: Pod, instance: Instance) -> dict[str, str]:
    """The labels that say whose pod it is."""
    return {POD_NAME: pod.name, POD_NAMESPACE: pod.namespace, POD_UID: instance.uid}


def hostname(pod: Pod) -> str:
    """The short host name: what the manifest asks for, or the pod's name cut to what the kernel takes."""
    return pod.hostname or pod.name[:_HOSTNAME_LENGTH].rstrip("-.")


def port_mappings(pod: Pod) -> list[pb.PortMapping]:
    """All ports that containers declare, published or not."""
    return [
        pb.PortMapping(
            protocol=_PROTOCOLS[port.protocol],
            container_port=port.container_port,
            host_port=port.host_port,
            host_ip=port.host_ip,
        )
        for container in pod.all_containers
        for port in container.ports
    ]


def dns_config(pod: Pod, host: Host) -> pb.DNSConfig | None:
    """resolv.conf of the pod; None to take the host's as it is. There is no cluster, hence no cluster DNS."""
    dns = pod.dns
    if dns.policy == "None":
        return pb.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options)
    if not (dns.servers or dns.searches or dns.options):
        return None
    base = parse_resolv_conf(host.resolv_conf)
    return pb.DNSConfig(
        servers=merged(base.servers, dns.servers)[:_MOST_SERVERS],
        searches=merged(base.searches, dns.searches)[:_MOST_SEARCHES],
        options=merge_options(base.options, dns.options),
    )


def merged(first: Sequence[str], then: Sequence[str]) -> list[str]:
    """Both, each item once."""
    return list(dict.fromkeys([*first, *then]))


def merge_options(base: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Options by name; `wanted` wins."""
    return list({option.partition(":")[0]: option for option in [*base, *wanted]}.values())


def parse_resolv_conf(text: str) -> pb.DNSConfig:
    """nameserver, search and options of a resolv.conf(5); a later search replaces an earlier one."""
    found = pb.DNSConfig()
    for line in text.splitlines():
        keyword, *words = line.split() or [""]
        if keyword == "nameserver" and words:
            found.servers.append(words[0])
        elif keyword in ("search", "domain"):
            found.searches[:] = words
        elif keyword == "options":
            found.options.extend(words)
    return found


def etc_hosts(pod: Pod, host: Host, ips: Sequence[str]) -> str:
    """/etc/hosts of the pod: loopback, its own addresses, its aliases; on the host's network the host's file."""
    lines = [host.hosts.rstrip("\n")] if pod.host_network else [*_LOOPBACK]
    if not pod.host_network:
        names = [hostname(pod)]
        if pod.subdomain:
            names.insert(0, f"{hostname(pod)}.{pod.subdomain}.{pod.namespace}.svc")
        lines += [f"{ipaddress.ip_address(ip)}\t{' '.join(names)}" for ip in ips]
    lines += [f"{alias.ip}\t{' '.join(alias.names)}" for alias in pod.host_aliases]
    return "\n".join(lines) + "\n"
