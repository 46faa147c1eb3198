"""What containers have of the machine's kernel: its modules, when they are wanted, and devices of their own."""

from __future__ import annotations

import pytest

from tests.support.guest import Client
from tests.vm.test_agent import Container, specification

pytestmark = pytest.mark.root


def test_modules_come_when_they_are_wanted(client: Client) -> None:
    """A bridge and a pair of links, for who has the capability; what no module of the machine's has is an error."""
    script = (
        "brctl addbr br7 && ip link add v0 type veth peer name v1 && ip link show br7 && ip link show v1;"
        "ip link add w0 type wireguard || echo none; ip link del v0; brctl delbr br7; cut -d' ' -f1 /proc/modules"
    )
    spec = specification("sh", "-c", script)
    spec["process"]["capabilities"] = {kind: ["CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted")}
    with Container(client, spec) as one:
        one.end()
        words = one.read().split()
    assert {"br7:", "none", "bridge", "veth"} <= set(words)
    assert "nf_tables" not in words


def test_devices_are_the_containers_own(client: Client) -> None:
    """/dev has what the specification gives by default; other devices can't be made, not even by root."""
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]
    script = (
        "mknod /tmp/kmsg c 1 11; cat /tmp/kmsg 2>&1; mknod /tmp/fuse c 10 229 2>&1; mknod /tmp/z c 1 5 && echo made;"
        " head -c 2 /dev/zero | wc -c; ls -l /dev/stdout | grep -o fd/1; echo x >/dev/null && echo null"
    )
    mounts = [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]
    spec = specification("sh", "-c", script, mounts=mounts, linux={"resources": {"devices": rules}})
    spec["process"]["capabilities"] = {kind: ["CAP_MKNOD"] for kind in ("bounding", "effective", "permitted")}
    with Container(client, spec) as one:
        one.end()
        lines = one.read().splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [
        "No such file or directory", "Operation not permitted", "made", "2", "fd/1", "null",
    ]  # fmt: skip
