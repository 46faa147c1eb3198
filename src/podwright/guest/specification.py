"""The host's OCI specification as a list of things to do here. Reads it, checks it, changes nothing.

Network, UTS and IPC namespaces are the machine's, as the machine is the pod; what belongs to those (sysctls, host name)
is set for the machine. What needs the host is refused with the path of the field.
OCI runtime specification, config.md and config-linux.md.
"""

from __future__ import annotations

from typing import NamedTuple

from podwright.guest import devices, limits, mounts
from podwright.guest.credentials import Credentials, compiled_filter
from podwright.guest.failures import INVALID, UNSUPPORTED, Failure
from podwright.guest.fields import Object, get, objects, strings
from podwright.guest.shares import shared_path

NEW, MACHINES = "new", ""
"""PID namespaces: the container's own, the machine's; anything else is the id of a container whose one is joined."""

_CONTAINER_PREFIX = "container:"
_OF_THE_MACHINE = frozenset({"network", "uts", "ipc", "mount"})


class Process(NamedTuple):
    """A program to execute."""

    args: list[str]
    env: dict[str, str]
    cwd: str
    terminal: bool
    credentials: Credentials


class Layout(NamedTuple):
    """A container's file system. Paths in `root` and in mounts' sources are the machine's."""

    root: str
    read_only: bool
    mounts: list[mounts.Mount]
    nodes: list[devices.Node]
    masked: list[str]
    read_only_paths: list[str]
    propagation: int


class Plan(NamedTuple):
    """A container. `pid_namespace` as above; `own_cgroup_namespace`; `limits` are files of its cgroup."""

    process: Process
    layout: Layout
    pid_namespace: str
    own_cgroup_namespace: bool
    limits: dict[str, str]
    device_rules: list[Object]
    program: bytes
    hostname: str
    sysctls: dict[str, str]
    shm_options: str


def plan(spec: Object, rootfs: str) -> Plan:
    """`rootfs` is a share: path. Raises Failure."""
    linux = get(spec, "linux", dict, {}, within="spec.")
    if spec.get("hooks"):
        raise Failure(UNSUPPORTED, "spec.hooks: can't run in a virtual machine")
    program = compiled_filter(spec)
    resources = get(linux, "resources", dict, {}, within="spec.linux.")
    wanted_mounts, shm_options = mounts.plan(spec)
    kinds = _namespaces(linux)
    return Plan(
        process=process(get(spec, "process", dict, within="spec."), "spec.process.", program),
        layout=Layout(
            root=shared_path(rootfs, "rootfs"),
            read_only=get(get(spec, "root", dict, {}, within="spec."), "readonly", bool, False, within="spec.root."),
            mounts=wanted_mounts, nodes=devices.nodes(spec),
            masked=strings(linux, "maskedPaths", within="spec.linux."),
            read_only_paths=strings(linux, "readonlyPaths", within="spec.linux."),
            propagation=mounts.propagation(get(linux, "rootfsPropagation", str, "", within="spec.linux.")),
        ),
        pid_namespace=kinds.get("pid", MACHINES), own_cgroup_namespace="cgroup" in kinds,
        limits=limits.files(resources, "spec.linux.resources."),
        device_rules=objects(resources, "devices", within="spec.linux.resources."),
        program=program, hostname=get(spec, "hostname", str, "", within="spec."),
        sysctls={key: str(value) for key, value in get(linux, "sysctl", dict, {}, within="spec.linux.").items()},
        shm_options=shm_options,
    )  # fmt: skip


def process(source: Object, within: str, program: bytes) -> Process:
    """`process` of a container or an exec. `program` is the container's seccomp filter. Raises Failure."""
    args = strings(source, "args", within=within)
    if not args:
        raise Failure(INVALID, f"{within}args: is empty")
    env = dict(word.partition("=")[::2] for word in strings(source, "env", within=within) if "=" in word)
    cwd = get(source, "cwd", str, "/", within=within)
    if not cwd.startswith("/"):
        raise Failure(INVALID, f"{within}cwd: {cwd[:200]!r} is not an absolute path")
    terminal = get(source, "terminal", bool, False, within=within)
    return Process(args, env, cwd, terminal, Credentials(source, within, program))


def _namespaces(linux: Object) -> dict[str, str]:
    """What is not the machine's."""
    made: dict[str, str] = {}
    for at, namespace in enumerate(objects(linux, "namespaces", within="spec.linux.")):
        within = f"spec.linux.namespaces[{at}]."
        kind, path = get(namespace, "type", str, within=within), get(namespace, "path", str, "", within=within)
        if kind in _OF_THE_MACHINE:
            continue
        if kind not in ("pid", "cgroup"):
            raise Failure(UNSUPPORTED, f"{within}type: a virtual machine has no {kind} namespaces for containers")
        if kind == "pid" and path and not path.startswith(_CONTAINER_PREFIX):
            raise Failure(INVALID, f"{within}path: {path[:200]!r} is not {_CONTAINER_PREFIX}ID")
        made[kind] = path.removeprefix(_CONTAINER_PREFIX) if kind == "pid" and path else NEW
    return made
