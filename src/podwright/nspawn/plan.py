"""What the first step has to do, as it travels there: JSON, read in the stage where there is only the standard library.

Descriptors are sent after it, over the channel, and get numbers in the order they come: nspawn would keep those that
it hands on open as long as it lives, and a container's input could not end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# The descriptors that the first step always has, and the first one of those that vary. All but the first are sent.
CHANNEL, PLAN, GATE, OUTCOME, STDIN, STDOUT, STDERR, FURTHER = 3, 4, 5, 6, 7, 8, 9, 10
# How many may come with one message: SCM_MAX_FD of the kernel is 253.
AT_ONCE = 250
# In the container's directory: the fifos that GATE and OUTCOME are, the compiled filter of system calls, nspawn's tree.
GATE_FILE, OUTCOME_FILE, FILTER, STAGE = "gate", "outcome", "seccomp", "stage"


class MountStep(NamedTuple):
    """One of mounts[]. `tree`: a detached mount that is moved there; else `fstype` is mounted, or, where `members` are
    given, a tmpfs with a tree for each name. `propagation` 0: as it is."""

    destination: str
    tree: int = -1
    is_directory: bool = True
    source: str = ""
    fstype: str = ""
    flags: int = 0
    data: str = ""
    propagation: int = 0
    members: dict[str, int] | None = None


class ProcessPlan(NamedTuple):
    """How the command is run. `process` is that of the configuration, `seccomp` a BPF program in base64,
    `console` the connection that a terminal is sent over."""

    process: dict[str, Any]
    seccomp: str = ""
    console: int = -1


class RootPlan(NamedTuple):
    """The root file system: `tree` is mounted first. Paths are the container's."""

    tree: int
    mounts: list[MountStep]
    devices: list[dict[str, Any]]
    masked: list[str]
    read_only_paths: list[str]
    read_only: bool
    propagation: int
    sysctls: dict[str, str]
    hostname: str
    cgroup_namespace: int


def unpack(document: dict[str, Any]) -> tuple[RootPlan | None, ProcessPlan]:
    """From JSON, where a NamedTuple became an object."""
    root = document.get("root")
    process = ProcessPlan(**document["process"])
    if root is None:
        return None, process
    return RootPlan(**root | {"mounts": [MountStep(**mount) for mount in root["mounts"]]}), process
