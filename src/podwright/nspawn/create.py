"""`create`: the container's cgroup, its plan, nspawn; each is in the record before it is made."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from podwright.base.errors import FailedPrecondition, Unimplemented
from podwright.base.files import write_plain
from podwright.linux import syscalls as sys
from podwright.linux.pidfd import identify
from podwright.nspawn import stage
from podwright.nspawn.cgroup import Cgroup, path_for
from podwright.nspawn.device_nodes import confined
from podwright.nspawn.launch import Launch, launch
from podwright.nspawn.plan import FILTER, STAGE, ProcessPlan, RootPlan
from podwright.nspawn.trees import Trees, own_cgroups, steps
from podwright.oci.runtime_spec import Namespace, StoredSpec
from podwright.ociruntime import console
from podwright.ociruntime.base import CreateRequest
from podwright.ociruntime.record import Container, Containers

_OF_A_PROCESS = re.compile(r"/proc/(\d+)/ns/pid\Z")
_PROPAGATION = {
    "shared": sys.MS_SHARED, "slave": sys.MS_SLAVE, "private": sys.MS_PRIVATE,
    "rshared": sys.MS_SHARED | sys.MS_REC, "rslave": sys.MS_SLAVE | sys.MS_REC,
    "rprivate": sys.MS_PRIVATE | sys.MS_REC,
}  # fmt: skip


def create(nspawn: Path, container: Container, request: CreateRequest) -> int:
    """The pid of the carrier. See `Program.create`."""
    spec = request.bundle.spec
    cgroup = Cgroup(path_for(spec.linux.cgroups_path, container.id))
    if cgroup.kernel.processes(cgroup.path):
        raise FailedPrecondition(f"linux.cgroupsPath: there are processes in {cgroup.path} already")
    machine = f"podwright-{os.urandom(8).hex()}"
    container.details.update(machine=machine, cgroup=cgroup.path)
    container.save()
    cgroup.make()
    program = compile_filter(spec)
    write_plain(container.directory / FILTER, program.encode())
    shown, command = stage.make(container.directory / STAGE)
    namespaces = _with_real_pids(spec.linux.namespaces, Containers(container.directory.parent))
    trees = Trees()
    try:
        document = _plan(request, cgroup, trees, program)
        wanted = Launch(
            container.directory, machine, namespaces, shown, command, document, trees.descriptors,
            cgroup.files_to_join(),
        )  # fmt: skip
        started = launch(nspawn, wanted)
    finally:
        trees.close()
    first = identify(started.first)
    container.details["first"] = [started.first, first.start_time if first else 0]
    container.save()
    # Not before: what nspawn and its first step use is no measure of the container's needs.
    if spec.linux.resources is not None:
        cgroup.limit_devices(spec.linux.resources)
        cgroup.limit(spec.linux.resources)
    return started.carrier


def _with_real_pids(namespaces: list[Namespace], containers: Containers) -> list[Namespace]:
    """Callers know a container of ours by its carrier, which is in the host's PID namespace; its first process is in
    the container's own."""
    found = []
    for namespace in namespaces:
        match = _OF_A_PROCESS.match(namespace.path) if namespace.type == "pid" else None
        if match:
            owners = (each for each in containers.all() if each.record.pid == int(match[1]) and "first" in each.details)
            owner = next(owners, None)
            if owner is not None:
                namespace = Namespace(type="pid", path=f"/proc/{owner.details['first'][0]}/ns/pid")
        found.append(namespace)
    return found


def _plan(request: CreateRequest, cgroup: Cgroup, trees: Trees, program: str) -> bytes:
    """JSON. What it refers to is added to `trees`. `program` is the system call filter's."""
    bundle, spec = request.bundle, request.bundle.spec
    root_tree = trees.clone(bundle.rootfs.resolve(), recursive=True)
    own_cgroup_namespace = any(namespace.type == "cgroup" for namespace in spec.linux.namespaces)
    cgroups = own_cgroups(cgroup.hierarchies, cgroup.path, namespace=own_cgroup_namespace)
    root = RootPlan(
        tree=root_tree,
        mounts=steps(spec.mounts, bundle.path, trees, cgroups),
        devices=(bundle.document.get("linux") or {}).get("devices") or [],
        masked=spec.linux.masked_paths,
        read_only_paths=spec.linux.readonly_paths,
        read_only=spec.root.readonly,
        propagation=_PROPAGATION.get(spec.linux.rootfs_propagation, 0),
        sysctls=spec.linux.sysctl,
        hostname=spec.hostname,
        cgroup_namespace=-1 if own_cgroup_namespace else trees.add(os.open("/proc/self/ns/cgroup", os.O_RDONLY)),
    )
    process = ProcessPlan(
        confined(bundle.document["process"], spec.linux.resources, guarded=cgroup.limits_devices), program,
        console=_console(request.console_socket, trees),
    )  # fmt: skip
    mounts = [step._asdict() for step in root.mounts]
    return msgspec.json.encode({"root": root._asdict() | {"mounts": mounts}, "process": process._asdict()})


def _console(path: str, trees: Trees) -> int:
    if not path:
        return -1
    with console.connect(path) as connection:
        return trees.add(os.dup(connection.fileno()))


def compile_filter(spec: StoredSpec) -> str:
    """linux.seccomp as a program for the kernel, in base64; '' for none."""
    profile = spec.linux.seccomp
    if not profile:
        return ""
    if profile.get("listenerPath"):
        raise Unimplemented("linux.seccomp.listenerPath is not supported by podwright-nspawn")
    # Compiling is for those that have a profile: it loads a library, and the log's.
    from podwright.security.seccomp_filter import compiled

    program = compiled(msgspec.Raw(msgspec.json.encode(profile)))
    if not program:
        raise Unimplemented("linux.seccomp: libseccomp.so.2 is not installed (Debian: apt-get install libseccomp2)")
    return program
