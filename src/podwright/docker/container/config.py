"""A container as POST /containers/create takes it. Pure: what it needs of the host, others have found out.

What Docker has no word for is refused with the field's name (`unsupported.py`), never left out in silence.
Docker Engine API v1.41, ContainerCreate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from podwright.base.errors import FailedPrecondition
from podwright.container.spec.facts import HostFacts, ImageFacts, MountSource, RequestFacts, SandboxFacts
from podwright.container.spec.mounts import mount_destination
from podwright.container.spec.process import arguments, environment, working_directory
from podwright.container.spec.user import ResolvedUser
from podwright.criapi import api_pb2 as pb
from podwright.docker.container.resources import resource_body
from podwright.docker.container.security import security_body
from podwright.docker.naming import labels_of

_PROPAGATION = {
    pb.PROPAGATION_PRIVATE: "rprivate",
    pb.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    pb.PROPAGATION_BIDIRECTIONAL: "rshared",
}
_NO_HEALTHCHECK = {"Test": ["NONE"]}


@dataclass(frozen=True)
class Place:
    """Where a container is to be. `sandbox_name`: of the sandbox container, in the engine. `target_name`: of the
    container whose PIDs it shares, '' for none. `log_max_bytes`: of what Docker keeps of its output.
    `gives_privileges`: whether Docker's "privileged" works here.
    """

    container_id: str
    instance: str
    runtime: str
    sandbox_name: str
    target_name: str
    log_max_bytes: int
    gives_privileges: bool


def container_body(
    config: pb.ContainerConfig, sandbox: SandboxFacts, image: ImageFacts, host: HostFacts, request: RequestFacts,
    user: ResolvedUser, place: Place,
) -> dict[str, object]:  # fmt: skip
    """Raises InvalidArgument, FailedPrecondition, PrefixedError (RROUnsupported)."""
    security = config.linux.security_context
    arguments(config, image)  # for its errors: Docker puts the words together itself
    body: dict[str, object] = {
        "Image": image.id,
        "Env": _variables(config),
        "WorkingDir": working_directory(config, image),
        "User": f"{user.uid}:{user.gid}",
        "Tty": config.tty,
        "OpenStdin": config.stdin,
        "StdinOnce": config.stdin and config.stdin_once,
        "Labels": labels_of(config.labels, instance=place.instance, record_id=place.container_id, kind="container"),
        "Healthcheck": _NO_HEALTHCHECK,
        "HostConfig": {
            **_namespaces(security.namespace_options, sandbox, place),
            **resource_body(config.linux.resources, host),
            **security_body(config, sandbox, host, request, gives_privileges=place.gives_privileges),
            "Runtime": place.runtime,
            "CgroupParent": sandbox.cgroup_parent,
            "GroupAdd": [str(gid) for gid in user.supplemental_groups if gid != user.gid],
            "ReadonlyRootfs": security.readonly_rootfs,
            "Mounts": mounts(config, sandbox, host, request),
            "RestartPolicy": {"Name": "no"},
            "Init": False,
            "LogConfig": log_config(place.log_max_bytes),
        },
    }
    if config.command:
        body["Entrypoint"] = list(config.command)
    if config.args or config.command:
        body["Cmd"] = list(config.args)
    return body


def log_config(max_bytes: int) -> dict[str, object]:
    """The one log driver whose log can be followed, by time, over restarts; whatever dockerd's default is."""
    return {"Type": "json-file", "Config": {"max-size": str(max_bytes), "max-file": "2", "compress": "false"}}


def _variables(config: pb.ContainerConfig) -> list[str]:
    """The request's own, each key once; Docker adds the image's, and HOSTNAME, HOME, PATH and TERM."""
    keys = {variable.key for variable in config.envs}
    given = environment(config, ImageFacts(), hostname="", home="/")
    return [entry for entry in given if entry.partition("=")[0] in keys]


def _namespaces(options: pb.NamespaceOption, sandbox: SandboxFacts, place: Place) -> dict[str, object]:
    """The pod's network, IPC and hostname; PIDs as asked for."""
    if options.pid == pb.POD and "pid" not in sandbox.namespaces:
        raise FailedPrecondition(
            f"pod {sandbox.name} was not made with a shared PID namespace: the container can't ask for one"
        )
    pod = f"container:{place.sandbox_name}"
    pid = {pb.POD: pod, pb.NODE: "host", pb.TARGET: f"container:{place.target_name}"}.get(options.pid, "")
    return {
        "NetworkMode": "host" if sandbox.host_network else pod,
        "UTSMode": "host" if sandbox.host_network else "",
        "IpcMode": pod if "ipc" in sandbox.namespaces else "host",
        "PidMode": pid,
        "UsernsMode": "host",
    }


def mounts(
    config: pb.ContainerConfig, sandbox: SandboxFacts, host: HostFacts, request: RequestFacts
) -> list[dict[str, object]]:
    """The pod's files, and the request's mounts over them; of two at one place the later one is seen."""
    found = dict(_pod_files(sandbox, read_only=config.linux.security_context.readonly_rootfs))
    for at, mount in enumerate(config.mounts):
        destination = mount_destination(mount.container_path, f"mounts[{at}]")
        found[destination] = _requested(mount, destination, request.sources[destination], host)
    return list(found.values())


def _pod_files(sandbox: SandboxFacts, *, read_only: bool) -> Iterator[tuple[str, dict[str, object]]]:
    """Ours from the start: Docker puts what is mounted at these three places there instead of its own files."""
    files = (
        ("/etc/hosts", sandbox.hosts),
        ("/etc/resolv.conf", sandbox.resolv_conf),
        ("/etc/hostname", sandbox.hostname_file),
    )
    for destination, source in files:
        yield destination, _bind(str(source), destination, "rprivate", read_only=read_only)


def _requested(mount: pb.Mount, destination: str, source: MountSource, host: HostFacts) -> dict[str, object]:
    body = _bind(str(source.path), destination, _PROPAGATION[mount.propagation], read_only=mount.readonly)
    if host.recursive_read_only and mount.readonly:
        # Docker 25 and later make what is mounted below read-only as well, unless they are told not to.
        key = "ReadOnlyForceRecursive" if mount.recursive_read_only else "ReadOnlyNonRecursive"
        body["BindOptions"] = {"Propagation": _PROPAGATION[mount.propagation], key: True}
    return body


def _bind(source: str, destination: str, propagation: str, *, read_only: bool) -> dict[str, object]:
    return {
        "Type": "bind", "Source": source, "Target": destination, "ReadOnly": read_only,
        "BindOptions": {"Propagation": propagation},
    }  # fmt: skip
