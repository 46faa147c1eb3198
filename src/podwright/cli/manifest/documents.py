"""From YAML text to a Manifest: documents, their kinds, ConfigMaps; pods are read by `read_pod`."""

from __future__ import annotations

import base64
import binascii

import yaml

from podwright.base.errors import InvalidArgument
from podwright.base.strict_yaml import StrictLoader
from podwright.cli.manifest.model import Manifest, Pod
from podwright.cli.manifest.node import Node
from podwright.cli.manifest.read_pod import read_metadata, read_pod


def read_manifest(text: str) -> Manifest:
    """All documents of a manifest. Raises InvalidArgument with the path of what is wrong."""
    try:
        documents = [document for document in yaml.load_all(text, StrictLoader) if document is not None]
    except yaml.YAMLError as error:
        raise InvalidArgument(f"not valid YAML: {' '.join(str(error).split())}") from error
    warnings: list[str] = []
    pods: list[Pod] = []
    config_maps: dict[tuple[str, str], dict[str, bytes]] = {}
    for document in documents:
        node = Node(document, "", warnings.append)
        kind, version = node.required_text("kind"), node.text("apiVersion")
        if version != "v1" or kind not in ("Pod", "ConfigMap"):
            raise node.error("kind", f"{version} {kind} can't be played: only v1 Pod and v1 ConfigMap can")
        if kind == "ConfigMap":
            read_config_map(node, config_maps)
            continue
        pod = read_pod(node)
        if any(other.full_name == pod.full_name for other in pods):
            raise InvalidArgument(f"pod {pod.full_name} is in the file twice", field="metadata.name")
        pods.append(pod)
    if not pods:
        raise InvalidArgument("there is no Pod in it")
    return Manifest(tuple(pods), config_maps, tuple(warnings))


def read_config_map(node: Node, into: dict[tuple[str, str], dict[str, bytes]]) -> None:
    """A ConfigMap's data, binary data decoded."""
    node.only({"apiVersion", "kind", "metadata", "data", "binaryData", "immutable"})
    metadata = read_metadata(node)
    data = {key: value.encode() for key, value in node.text_map("data").items()}
    for key, value in node.text_map("binaryData").items():
        try:
            data[key] = base64.b64decode("".join(value.split()), validate=True)
        except binascii.Error as error:
            raise node.error(f"binaryData.{key}", f"not base64: {error}") from error
    for key in data:
        if not key or "/" in key or key in (".", ".."):
            raise node.error(f"data.{key}", "a key must be usable as a file name")
    if (metadata.namespace, metadata.name) in into:
        raise node.error("metadata.name", f"ConfigMap {metadata.name} is in the file twice")
    into[metadata.namespace, metadata.name] = data
