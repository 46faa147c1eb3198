"""Which namespaces a container has of its own, which it joins, and which are the host's. namespaces(7)."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.container.spec.facts import HostFacts, SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Namespace

_FIELD = "linux.security_context.namespace_options"


def plan_namespaces(
    options: pb.NamespaceOption, sandbox: SandboxFacts, host: HostFacts, *, target_pid: int
) -> list[Namespace]:
    """A new mount namespace, the pod's network, IPC, UTS and user ones, a PID namespace by mode.

    A cgroup namespace of its own only on cgroup v2: on v1 the container's view of /proc/self/cgroup must stay the
    host's for programs that look their limits up there. `target_pid`: the process whose PID namespace TARGET joins.
    """
    namespaces = [Namespace(type="mount")]
    namespaces += [
        Namespace(type=kind, path=sandbox.namespaces[kind])
        for kind in ("user", "network", "ipc", "uts")
        if kind in sandbox.namespaces
    ]
    namespaces += _pid(options, sandbox, target_pid)
    if host.unified_cgroups:
        namespaces.append(Namespace(type="cgroup"))
    return namespaces


def _pid(options: pb.NamespaceOption, sandbox: SandboxFacts, target_pid: int) -> list[Namespace]:
    if options.pid == pb.NODE:
        if sandbox.own_kernel:
            raise FailedPrecondition(
                f"{_FIELD}.pid: pod {sandbox.name} has a kernel of its own: the host's PIDs can't be had in it"
            )
        return []
    if options.pid == pb.CONTAINER:
        return [Namespace(type="pid")]
    if options.pid == pb.POD:
        if "pid" not in sandbox.namespaces:
            raise FailedPrecondition(
                f"pod {sandbox.name} was not made with a shared PID namespace: the container can't ask for one"
            )
        path = sandbox.namespaces["pid"]
        return [Namespace(type="pid", path=path)] if path else []
    if not target_pid:
        raise InvalidArgument("PID mode TARGET needs target_id, a running container", field=_FIELD)
    return [Namespace(type="pid", path=f"/proc/{target_pid}/ns/pid")]
