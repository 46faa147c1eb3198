"""What went through the interfaces of pods: the counters of pinned network namespaces.

One thread for any number of pods goes from namespace to namespace: 14 µs each, where a thread a pod would cost 80 and
a process a thousand. `sandbox/` calls `read_counters` in a thread of `namespaces.in_own_thread`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.network.namespaces import enter_netns


@dataclass(frozen=True)
class InterfaceCounters:
    """Since the interface was made. `rx` is what the pod received."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def read_counters(netns: Path) -> list[InterfaceCounters] | None:
    """The interfaces of a namespace but its loopback; None when it is gone. Leaves the calling thread in it."""
    try:
        enter_netns(netns)
    except (FailedPrecondition, FileNotFoundError):  # it went before or while it was entered
        return None
    # /proc/net would be the main thread's.
    fd = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return parse_net_dev(b"".join(chunks).decode())


def parse_net_dev(text: str) -> list[InterfaceCounters]:
    """proc_pid_net(5), dev: two lines of header, then `name: 8 numbers received, 8 transmitted`."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, numbers = line.rpartition(":")  # an interface's name may have a colon in it
        if (name := name.strip()) == "lo":
            continue
        values = [int(number) for number in numbers.split()]
        found.append(InterfaceCounters(name, *values[0:4], *values[8:12]))
    return found
