"""From a container of a manifest to `model.Container`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from fractions import Fraction

from podwright.cli.manifest import fields, quantity
from podwright.cli.manifest.model import (
    Amounts,
    ConfigMapKey,
    Container,
    EnvFrom,
    EnvVar,
    FieldRef,
    Port,
    Resources,
    VolumeMount,
)
from podwright.cli.manifest.node import Node
from podwright.cli.manifest.read_security import read_container_security

FIELD_PATHS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.podIP", "status.podIPs",
)  # fmt: skip
# metadata.labels['key'] and metadata.annotations['key']
KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_PROPAGATIONS = ("None", "HostToContainer", "Bidirectional")
_ENV_NAME = re.compile(r"[^=\0]+")


def read_container(node: Node, volumes: Collection[str], *, init: bool = False) -> Container:
    """A container, or an init container. `volumes` are the names that mounts may refer to."""
    node.only(fields.CONTAINER, ignored=fields.CONTAINER_IGNORED, refused=fields.CONTAINER_REFUSED)
    image = node.required_text("image")
    return Container(
        name=node.required_text("name"), image=image, pull_policy=pull_policy(node, image),
        command=node.texts("command"), args=node.texts("args"), working_dir=node.text("workingDir"),
        env_from=tuple(map(read_env_from, node.children("envFrom"))),
        env=tuple(map(read_env, node.children("env"))),
        ports=tuple(map(read_port, node.children("ports"))),
        mounts=tuple(read_mount(item, volumes) for item in node.children("volumeMounts")),
        resources=read_resources(node.child("resources")),
        security=read_container_security(node.child("securityContext")),
        tty=bool(node.flag("tty")), stdin=bool(node.flag("stdin")), stdin_once=bool(node.flag("stdinOnce")),
        termination_message_path=termination_message_path(node), sidecar=sidecar(node, init=init), where=node.path,
    )  # fmt: skip


def pull_policy(node: Node, image: str) -> str:
    """When to pull: by default always for the tag latest, else if the image isn't there."""
    name = image.rsplit("/", 1)[-1]
    moving = "@" not in name and (":" not in name or name.endswith(":latest"))
    return node.choice("imagePullPolicy", ("Always", "IfNotPresent", "Never"), "Always" if moving else "IfNotPresent")


def termination_message_path(node: Node) -> str:
    """Where the container may leave its last words."""
    node.choice("terminationMessagePolicy", ("File", "FallbackToLogsOnError"), "File")
    path = node.text("terminationMessagePath") or "/dev/termination-log"
    if not path.startswith("/"):
        raise node.error("terminationMessagePath", f"{path!r} must be an absolute path")
    return path


def sidecar(node: Node, *, init: bool) -> bool:
    """Whether an init container is to be left running (restartPolicy: Always)."""
    policy = node.choice("restartPolicy", ("", "Always", "OnFailure", "Never"), "")
    if policy and not (init and policy == "Always"):
        node.warn("restartPolicy", "nothing supervises a played pod; ignored")
    return init and policy == "Always"


def read_env(node: Node) -> EnvVar:
    """One of env."""
    node.only({"name", "value", "valueFrom"})
    name = node.required_text("name")
    if not _ENV_NAME.fullmatch(name):
        raise node.error("name", f"{name!r} can't be the name of a variable")
    source = node.child("valueFrom")
    if source is None:
        return EnvVar(name, node.text("value"), node.path)
    if node.text("value"):
        raise node.error("valueFrom", "can't go together with value")
    source.only(
        {"fieldRef", "configMapKeyRef"},
        refused={
            "secretKeyRef": "secrets need a cluster; put the value into a ConfigMap in the same file",
            "resourceFieldRef": "can't be played; write the value out",
            "fileKeyRef": "can't be played; use a configMapKeyRef",
        },
    )
    field, key = source.child("fieldRef"), source.child("configMapKeyRef")
    if (field is None) == (key is None):
        raise node.error("valueFrom", "must have one of fieldRef and configMapKeyRef")
    if key is not None:
        key.only({"name", "key", "optional"})
        wanted = ConfigMapKey(key.required_text("name"), key.required_text("key"), bool(key.flag("optional")))
        return EnvVar(name, wanted, node.path)
    assert field is not None
    field.only({"fieldPath", "apiVersion"})
    path = field.required_text("fieldPath")
    if path not in FIELD_PATHS and not KEYED_FIELD.fullmatch(path):
        raise field.error("fieldPath", f"{path} can't be played; known: {', '.join(FIELD_PATHS)}")
    return EnvVar(name, FieldRef(path), node.path)


def read_env_from(node: Node) -> EnvFrom:
    """One of envFrom."""
    node.only({"prefix", "configMapRef"}, refused={"secretRef": "secrets need a cluster; use a ConfigMap"})
    reference = node.child("configMapRef")
    if reference is None:
        raise node.error("configMapRef", "is required")
    reference.only({"name", "optional"})
    name = reference.required_text("name")
    return EnvFrom(name, node.text("prefix"), bool(reference.flag("optional")), reference.path)


def read_port(node: Node) -> Port:
    """One of ports."""
    node.only({"name", "containerPort", "hostPort", "hostIP", "protocol"})
    port = node.integer("containerPort", least=1, most=65535)
    if port is None:
        raise node.error("containerPort", "is required")
    host_port = node.integer("hostPort", least=0, most=65535) or 0
    return Port(port, host_port, node.text("hostIP"), node.choice("protocol", _PROTOCOLS, "TCP"))


def read_mount(node: Node, volumes: Collection[str]) -> VolumeMount:
    """One of volumeMounts."""
    node.only(
        {"name", "mountPath", "readOnly", "recursiveReadOnly", "subPath", "subPathExpr", "mountPropagation"}
    )  # fmt: skip
    name, path = node.required_text("name"), node.required_text("mountPath")
    if name not in volumes:
        raise node.error("name", f"there is no volume {name!r}; spec.volumes has: {', '.join(volumes) or 'none'}")
    if ":" in path:
        raise node.error("mountPath", "must not contain a colon")
    sub_path, expression = node.text("subPath"), node.text("subPathExpr")
    if sub_path and expression:
        raise node.error("subPathExpr", "can't go together with subPath")
    check_sub_path(node, "subPath", sub_path)
    recursive = node.choice("recursiveReadOnly", ("Disabled", "IfPossible", "Enabled"), "Disabled")
    if recursive == "Enabled" and not node.flag("readOnly"):
        raise node.error("recursiveReadOnly", "needs readOnly: true")
    return VolumeMount(
        name, posixpath.join("/", path), bool(node.flag("readOnly")), recursive == "Enabled", sub_path, expression,
        node.choice("mountPropagation", _PROPAGATIONS, "None"), node.path,
    )  # fmt: skip


def check_sub_path(node: Node, name: str, path: str) -> None:
    """Raise for a path that leads out of its volume."""
    if path.startswith("/") or ".." in path.split("/"):
        raise node.error(name, f"{path!r} must be a relative path without ..")


def read_resources(node: Node | None) -> Resources:
    """Requests and limits. A request that isn't said is its limit, as the API server has it."""
    if node is None:
        return Resources()
    node.only({"requests", "limits"}, refused={"claims": "resource claims need a cluster"})
    requests, limits = read_amounts(node.child("requests")), read_amounts(node.child("limits"))
    for name, want, limit in (
        ("cpu", requests.cpu_milli, limits.cpu_milli),
        ("memory", requests.memory_bytes, limits.memory_bytes),
    ):
        if want is not None and limit is not None and want > limit:
            raise node.error(f"requests.{name}", f"must not be more than limits.{name}")
    requests = Amounts(
        limits.cpu_milli if requests.cpu_milli is None else requests.cpu_milli,
        limits.memory_bytes if requests.memory_bytes is None else requests.memory_bytes,
    )
    return Resources(requests, limits)


def read_amounts(node: Node | None) -> Amounts:
    """Quantities by resource."""
    if node is None:
        return Amounts()
    cpu: int | None = None
    memory: int | None = None
    hugepages = {}
    for name in node.names():
        amount = read_quantity(node, name)
        if name == "cpu":
            cpu = quantity.milli(amount)
        elif name == "memory":
            memory = quantity.whole(amount)
        elif name.startswith("hugepages-"):
            hugepages[name.removeprefix("hugepages-")] = quantity.whole(amount)
        elif name == "ephemeral-storage":
            node.warn(name, "limits of disk space are the kubelet's work; ignored")
        else:
            raise node.error(name, "unknown resource; known: cpu, memory, hugepages-SIZE, ephemeral-storage")
    return Amounts(cpu, memory, hugepages)


def read_quantity(node: Node, name: str) -> Fraction:
    """One quantity, written as a number or as a string."""
    try:
        return quantity.parse(node.scalar(name) or "")
    except ValueError as error:
        raise node.error(name, str(error)) from None
