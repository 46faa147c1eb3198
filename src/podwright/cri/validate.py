"""Requests that can't be right are refused here, with the field's path, before anything happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from podwright.base.addresses import is_address
from podwright.base.errors import InvalidArgument
from podwright.container.spec.userns import pod_id_maps
from podwright.criapi import api_pb2 as pb

_HOSTNAME_LIMIT = 64  # sethostname(2), HOST_NAME_MAX
_NAME_LIMIT = 1024
_FORWARD_LIMIT = 127  # each has two channels, and a channel's number is a byte; 255 has a meaning of its own


def pod_config(config: pb.PodSandboxConfig) -> None:
    """RunPodSandbox.config"""
    if not config.HasField("metadata"):
        raise InvalidArgument("must be given", field="config.metadata")
    _name(config.metadata.name, "config.metadata.name")
    _name(config.metadata.namespace, "config.metadata.namespace")
    _name(config.metadata.uid, "config.metadata.uid")
    _hostname(config.hostname)
    _resolver(config.dns_config)
    if config.log_directory and not config.log_directory.startswith("/"):
        raise InvalidArgument(f"must be an absolute path, not {config.log_directory!r}", field="config.log_directory")
    _port_mappings(config)
    _enums(config, "config")
    context = config.linux.security_context
    _group_without_user(context, "config.linux.security_context")
    pod_id_maps(context.namespace_options)
    if context.namespace_options.pid == pb.TARGET:
        raise InvalidArgument("TARGET is for containers", field="config.linux.security_context.namespace_options.pid")


def _hostname(hostname: str) -> None:
    length = len(hostname.encode())
    if length > _HOSTNAME_LIMIT:
        raise InvalidArgument(f"has {length} bytes, the kernel takes {_HOSTNAME_LIMIT}", field="config.hostname")
    if not hostname.isprintable() or " " in hostname:
        raise InvalidArgument(f"{hostname!r} can't stand in /etc/hosts", field="config.hostname")


def _port_mappings(config: pb.PodSandboxConfig) -> None:
    for at, mapping in enumerate(config.port_mappings):
        field = f"config.port_mappings[{at}]"
        if not 0 <= mapping.host_port <= 65535:
            raise InvalidArgument(f"{mapping.host_port} is not a port (0 to 65535)", field=f"{field}.host_port")
        if mapping.host_port and not 1 <= mapping.container_port <= 65535:
            raise InvalidArgument(
                f"{mapping.container_port} is not a port (1 to 65535)", field=f"{field}.container_port"
            )
        if mapping.host_port and mapping.host_ip and not is_address(mapping.host_ip):
            raise InvalidArgument(f"{mapping.host_ip!r} is no address", field=f"{field}.host_ip")


def _resolver(dns: pb.DNSConfig) -> None:
    """What would end a line of resolv.conf begins another one. resolv.conf(5)"""
    for name in ("servers", "searches", "options"):
        for at, word in enumerate(getattr(dns, name)):
            if not word.isprintable():
                raise InvalidArgument(f"{word!r} can't stand in resolv.conf", field=f"config.dns_config.{name}[{at}]")


def container_config(config: pb.ContainerConfig) -> None:
    """CreateContainer.config"""
    if not config.HasField("metadata"):
        raise InvalidArgument("must be given", field="config.metadata")
    _name(config.metadata.name, "config.metadata.name")
    if not config.image.image:
        raise InvalidArgument("must name an image", field="config.image.image")
    _log_path(config.log_path)
    for at, mount in enumerate(config.mounts):
        if not mount.container_path.startswith("/"):
            raise InvalidArgument(
                f"must be an absolute path, not {mount.container_path!r}", field=f"config.mounts[{at}].container_path"
            )
        if mount.host_path and not mount.host_path.startswith("/"):
            raise InvalidArgument(
                f"must be an absolute path, not {mount.host_path!r}", field=f"config.mounts[{at}].host_path"
            )
    for at, env in enumerate(config.envs):
        if not env.key or "=" in env.key or "\0" in env.key:
            raise InvalidArgument(f"{env.key!r} is not a variable's name", field=f"config.envs[{at}].key")
    _enums(config, "config")
    _group_without_user(config.linux.security_context, "config.linux.security_context")
    pod_id_maps(config.linux.security_context.namespace_options)


def _enums(message: Message, at: str) -> None:
    """Enums of protobuf are open: a number without a name arrives, too, and must not be taken for one that has."""
    for field in _fields_with_enums(message.DESCRIPTOR):
        given = getattr(message, field.name)
        for index, value in enumerate(given if field.is_repeated else (given,)):
            path = f"{at}.{field.name}[{index}]" if field.is_repeated else f"{at}.{field.name}"
            if field.enum_type is None:
                _enums(value, path)
            elif value not in field.enum_type.values_by_number:
                names = ", ".join(field.enum_type.values_by_name)
                raise InvalidArgument(f"{value} is none of {names}"[:_NAME_LIMIT], field=path)


@cache
def _fields_with_enums(descriptor: Descriptor) -> Sequence[FieldDescriptor]:
    """Those that are enums, or messages that have some."""
    return [
        field
        for field in descriptor.fields
        if field.enum_type is not None or (field.message_type is not None and _fields_with_enums(field.message_type))
    ]


def _log_path(log_path: str) -> None:
    if log_path.startswith("/") or ".." in log_path.split("/"):
        raise InvalidArgument(
            f"must be a path below the pod's log_directory, not {log_path!r}", field="config.log_path"
        )


def _group_without_user(context: pb.LinuxSandboxSecurityContext | pb.LinuxContainerSecurityContext, field: str) -> None:
    named = isinstance(context, pb.LinuxContainerSecurityContext) and bool(context.run_as_username)
    if context.HasField("run_as_group") and not context.HasField("run_as_user") and not named:
        raise InvalidArgument("is given without run_as_user", field=f"{field}.run_as_group")


def _name(value: str, field: str) -> None:
    if not value:
        raise InvalidArgument("must not be empty", field=field)
    if len(value) > _NAME_LIMIT or "\0" in value:
        raise InvalidArgument(f"must have at most {_NAME_LIMIT} characters and no NUL", field=field)


def command(words: Sequence[str]) -> None:
    """ExecSyncRequest.cmd, ExecRequest.cmd"""
    if not words:
        raise InvalidArgument("must not be empty", field="cmd")


def timeout(seconds: int) -> float | None:
    """The seconds of a call that has a time of its own; None: as long as it likes, or what is set."""
    if seconds < 0:
        raise InvalidArgument(f"{seconds} is no time; 0 means the default", field="timeout")
    return float(seconds) or None


def streams(request: pb.ExecRequest | pb.AttachRequest) -> None:
    """ExecRequest, AttachRequest: what cri-api says of stdin, stdout, stderr and tty."""
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("one of stdin, stdout and stderr must be asked for", field="stdout")
    if request.tty and request.stderr:
        raise InvalidArgument("a terminal has no stderr of its own: ask for tty or for stderr", field="stderr")


def ports(numbers: Sequence[int]) -> None:
    """PortForwardRequest.port"""
    for at, port in enumerate(numbers):
        if not 1 <= port <= 65535:
            raise InvalidArgument(f"{port} is not a port (1 to 65535)", field=f"port[{at}]")
    if len(numbers) > _FORWARD_LIMIT:
        raise InvalidArgument(f"names {len(numbers)} ports, more than {_FORWARD_LIMIT}", field="port")


def required(value: str, field: str) -> str:
    """A string that must not be empty."""
    if not value:
        raise InvalidArgument("must not be empty", field=field)
    return value


def labels_match(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether all labels of the selector are there with exactly these values."""
    return all(labels.get(key) == value for key, value in selector.items())
