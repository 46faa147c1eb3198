"""The environment of a container: literals, ConfigMaps, fields of the pod, and references among them."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.expansion import expand
from podwright.cli.manifest.facts import Host, Instance
from podwright.cli.manifest.model import ConfigMapKey, ConfigMaps, Container, EnvVar, FieldRef, Pod
from podwright.cli.manifest.read_container import KEYED_FIELD


def environment(
    pod: Pod, container: Container, config_maps: ConfigMaps, host: Host, instance: Instance
) -> dict[str, str]:
    """Variables in order: those of envFrom, then env, which wins. Bytes that aren't UTF-8 are escaped as surrogates.

    Raises InvalidArgument for a ConfigMap or key that isn't in the file.
    """
    found: dict[str, str] = {}
    for source in container.env_from:
        data = config_maps.get(source.config_map)
        if data is None and not source.optional:
            raise missing(f"ConfigMap {source.config_map!r}", source.where)
        found |= {source.prefix + key: text(value) for key, value in (data or {}).items()}
    for variable in container.env:
        match variable.value:
            case str():
                found[variable.name] = expand(variable.value, found)
            case FieldRef():
                found[variable.name] = pod_field(variable.value.path, pod, host, instance)
            case ConfigMapKey():
                value = from_config_map(variable, variable.value, config_maps)
                if value is not None:
                    found[variable.name] = value
    return found


def from_config_map(variable: EnvVar, wanted: ConfigMapKey, config_maps: ConfigMaps) -> str | None:
    """The value of a key; None if it is optional and not there."""
    data = config_maps.get(wanted.config_map, {})
    if wanted.key in data:
        return text(data[wanted.key])
    if wanted.optional:
        return None
    what = f"key {wanted.key!r} of ConfigMap {wanted.config_map!r}" if data else f"ConfigMap {wanted.config_map!r}"
    raise missing(what, f"{variable.where}.valueFrom.configMapKeyRef")


def pod_field(path: str, pod: Pod, host: Host, instance: Instance) -> str:
    """A field of the pod by its path, which has been checked when it was read."""
    keyed = KEYED_FIELD.fullmatch(path)
    if keyed is not None:
        members: Mapping[str, str] = pod.labels if keyed[1] == "labels" else pod.annotations
        return members.get(keyed[2], "")
    ips = instance.ips or ((host.ip,) if pod.host_network and host.ip else ())
    return {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": instance.uid,
        "spec.nodeName": host.name,
        "spec.serviceAccountName": "default",
        "status.hostIP": host.ip,
        "status.podIP": next(iter(ips), ""),
        "status.podIPs": ",".join(ips),
    }[path]


def missing(what: str, where: str) -> InvalidArgument:
    """The error for something that must be in the same file."""
    return InvalidArgument(f"{what} isn't in the file", field=where)


def text(value: bytes) -> str:
    """Bytes as text that `encode` turns back into the same bytes."""
    return value.decode("utf-8", "surrogateescape")


def encode(value: str) -> bytes:
    """The inverse of `text`."""
    return value.encode("utf-8", "surrogateescape")
