"""From a Pod document to `model.Pod`: metadata and the pod's own fields; containers, volumes, security beside it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest import fields
from podwright.cli.manifest.model import Container, Dns, HostAlias, Pod, Volume
from podwright.cli.manifest.node import Node
from podwright.cli.manifest.read_container import read_container
from podwright.cli.manifest.read_security import read_pod_security
from podwright.cli.manifest.read_volume import read_volume

# RFC 1123: names of containers, volumes and namespaces; names of pods may have dots.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")

T = TypeVar("T", Container, Volume)


@dataclass(frozen=True)
class Metadata:
    """What `metadata` says of any object."""

    name: str
    namespace: str
    uid: str
    labels: dict[str, str]
    annotations: dict[str, str]


def read_metadata(document: Node) -> Metadata:
    """The metadata of any document, with the namespace `default` by default."""
    node = document.child("metadata")
    if node is None:
        raise document.error("metadata", "is required")
    node.only(fields.METADATA, ignored=fields.METADATA_IGNORED)
    name, namespace = node.required_text("name"), node.text("namespace") or "default"
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        raise node.error("name", f"{name!r} must be lower-case letters, digits, - and . (RFC 1123)")
    if not _LABEL.fullmatch(namespace):
        raise node.error("namespace", f"{namespace!r} must be lower-case letters, digits and - (RFC 1123)")
    uid = node.text("uid")
    if not re.fullmatch(r"[A-Za-z0-9-]{0,64}", uid):
        raise node.error("uid", f"{uid!r} must be letters, digits and -")
    return Metadata(name, namespace, uid, node.text_map("labels"), node.text_map("annotations"))


def read_pod(document: Node) -> Pod:
    """A Pod document. Raises InvalidArgument with the path of what is wrong."""
    document.only({"apiVersion", "kind", "metadata", "spec", "status"})
    metadata, spec = read_metadata(document), document.child("spec")
    if spec is None:
        raise document.error("spec", "is required")
    spec.only(fields.POD, ignored=fields.POD_IGNORED, refused=fields.POD_REFUSED)
    if spec.flag("hostUsers") is False:
        raise spec.error("hostUsers", "a user namespace can't be asked for here yet")
    volumes = named(spec, "volumes", read_volume)
    volume_names = {volume.name for volume in volumes}
    containers = named(spec, "containers", lambda node: read_container(node, volume_names))
    inits = named(spec, "initContainers", lambda node: read_container(node, volume_names, init=True))
    if not containers:
        raise spec.error("containers", "at least one is required")
    refuse_duplicates([*inits, *containers], "spec.containers")
    pod = Pod(
        name=metadata.name, namespace=metadata.namespace, uid=metadata.uid, labels=metadata.labels,
        annotations=metadata.annotations, containers=containers, init_containers=inits, volumes=volumes,
        hostname=hostname(spec), subdomain=spec.text("subdomain"),
        host_network=bool(spec.flag("hostNetwork")), host_pid=bool(spec.flag("hostPID")),
        host_ipc=bool(spec.flag("hostIPC")), share_process_namespace=bool(spec.flag("shareProcessNamespace")),
        dns=read_dns(spec), host_aliases=tuple(map(read_host_alias, spec.children("hostAliases"))),
        restart_policy=restart_policy(spec),
        grace_s=grace(spec), runtime_class=spec.text("runtimeClassName"),
        security=read_pod_security(spec.child("securityContext")),
    )  # fmt: skip
    check_host_namespaces(spec, pod)
    return pod


def named(spec: Node, name: str, read: Callable[[Node], T]) -> tuple[T, ...]:
    """A list of things with names of their own."""
    found = tuple(read(node) for node in spec.children(name))
    for i, thing in enumerate(found):
        if not _LABEL.fullmatch(thing.name):
            raise spec.error(f"{name}[{i}].name", f"{thing.name!r} must be lower-case letters, digits and - (RFC 1123)")
    refuse_duplicates(found, spec.at(name))
    return found


def refuse_duplicates(things: Sequence[T], path: str) -> None:
    """Raise for a name that is there twice."""
    seen: set[str] = set()
    for thing in things:
        if thing.name in seen:
            raise InvalidArgument(f"the name {thing.name!r} is used twice", field=path)
        seen.add(thing.name)


def hostname(spec: Node) -> str:
    """The host name that is asked for; empty: derived from the pod's name."""
    name = spec.text("hostname")
    if name and not _LABEL.fullmatch(name):
        raise spec.error("hostname", f"{name!r} must be at most 63 lower-case letters, digits and - (RFC 1123)")
    return name


def restart_policy(spec: Node) -> str:
    """What should happen to containers that end; here nothing does."""
    policy = spec.choice("restartPolicy", ("Always", "OnFailure", "Never"), "Always")
    if "restartPolicy" in spec and policy != "Never":
        spec.warn("restartPolicy", "nothing supervises a played pod: what ends is not started again")
    return policy


def grace(spec: Node) -> int:
    """How long containers may take to stop, in seconds."""
    seconds = spec.integer("terminationGracePeriodSeconds")
    return 30 if seconds is None else seconds


def read_dns(spec: Node) -> Dns:
    """dnsPolicy and dnsConfig."""
    policy = spec.choice("dnsPolicy", _DNS_POLICIES, "ClusterFirst")
    node = spec.child("dnsConfig")
    if node is None:
        if policy == "None":
            raise spec.error("dnsConfig", "is required with dnsPolicy None")
        return Dns(policy)
    node.only({"nameservers", "searches", "options"})
    servers = node.texts("nameservers")
    for i, server in enumerate(servers):
        check_address(node, f"nameservers[{i}]", server)
    if policy == "None" and not servers:
        raise node.error("nameservers", "at least one is required with dnsPolicy None")
    options = []
    for option in node.children("options"):
        option.only({"name", "value"})
        name, value = option.required_text("name"), option.scalar("value")
        options.append(name if value is None else f"{name}:{value}")
    return Dns(policy, servers, node.texts("searches"), tuple(options))


def read_host_alias(node: Node) -> HostAlias:
    """One of hostAliases."""
    node.only({"ip", "hostnames"})
    ip = node.required_text("ip")
    check_address(node, "ip", ip)
    for i, name in enumerate(names := node.texts("hostnames")):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise node.error(f"hostnames[{i}]", f"{name!r} is not a host name")
    return HostAlias(ip, names)


def check_address(node: Node, name: str, text: str) -> None:
    """Raise unless `text` is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise node.error(name, f"{text!r} is not an IP address") from None


def check_host_namespaces(spec: Node, pod: Pod) -> None:
    """What can't go together with the host's namespaces."""
    if pod.host_pid and pod.share_process_namespace:
        raise spec.error("shareProcessNamespace", "can't go together with hostPID")
    if not pod.host_network:
        return
    for container in pod.all_containers:
        for i, port in enumerate(container.ports):
            if port.host_port not in (0, port.container_port):
                path = f"{container.where}.ports[{i}].hostPort"
                raise InvalidArgument("must equal containerPort on the host's network", field=path)
    refused_sysctls(spec, pod.security.sysctls)


def refused_sysctls(spec: Node, sysctls: Collection[str]) -> None:
    """Network settings would be the host's own."""
    for name in sysctls:
        if name.startswith("net."):
            raise spec.error("securityContext.sysctls", f"{name} would change the host's network: hostNetwork is set")
