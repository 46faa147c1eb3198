"""A pod's files: hosts, hostname, resolv.conf and /dev/shm, made once a pod and mounted into its containers."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from podwright.base.files import write_plain
from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from podwright.sandbox.model import Sandbox
from podwright.security import selinux
from podwright.state.layout import Layout

HOST_FILES = {"hosts": Path("/etc/hosts"), "resolv.conf": Path("/etc/resolv.conf")}


_FILES = ("hostname", "resolv.conf", "hosts")


def write_pod_files(layout: Layout, sandbox: Sandbox) -> None:
    """hostname, resolv.conf and hosts under the pod's directory."""
    hostname = sandbox.record.hostname
    write_plain(layout.pod_file(sandbox.id, "hostname"), f"{hostname}\n".encode())
    write_plain(layout.pod_file(sandbox.id, "resolv.conf"), resolv_conf(sandbox.config))
    hosts = _host_file("hosts") if sandbox.host_network else default_hosts(hostname, sandbox.ips)
    write_plain(layout.pod_file(sandbox.id, "hosts"), hosts)
    if sandbox.id_maps is not None:
        for name in _FILES:
            os.chown(layout.pod_file(sandbox.id, name), *sandbox.id_maps.root)
    if label := _file_label(sandbox):
        for name in _FILES:
            os.setxattr(layout.pod_file(sandbox.id, name), "security.selinux", label.encode())


def resolv_conf(config: pb.PodSandboxConfig) -> bytes:
    """The request's servers, searches and options in their order; without any, the host's file. resolv.conf(5)."""
    if not config.HasField("dns_config"):
        return _host_file("resolv.conf")
    dns = config.dns_config
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "".join(f"{line}\n" for line in lines).encode()


def default_hosts(hostname: str, ips: tuple[str, ...]) -> bytes:
    """/etc/hosts for a pod to whose containers nobody mounts one (the kubelet does). hosts(5)."""
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]
    lines += [f"{ipaddress.ip_address(ip)}\t{hostname}" for ip in ips if hostname]
    return "".join(f"{line}\n" for line in lines).encode()


def _file_label(sandbox: Sandbox) -> str:
    """The SELinux context in which the pod's containers may write; '' where there is no SELinux."""
    level = sandbox.record.selinux_level
    return selinux.file_label(selinux.Options(), pod_level=level) if level else ""


def _host_file(name: str) -> bytes:
    try:
        return HOST_FILES[name].read_bytes()
    except FileNotFoundError:
        return b""


def mount_shm(layout: Layout, sandbox: Sandbox, *, size_bytes: int) -> None:
    """The pod's own /dev/shm; nothing for a pod in the host's IPC namespace, which uses the host's."""
    if sandbox.host_ipc:
        return
    target = layout.shm(sandbox.id)
    target.mkdir(mode=0o1777, exist_ok=True)
    if not mounts.is_mount_point(target):
        owner = sandbox.id_maps.root if sandbox.id_maps is not None else (0, 0)
        mounts.tmpfs(target, size_bytes=size_bytes, name="shm", owner=owner, label=_file_label(sandbox))
