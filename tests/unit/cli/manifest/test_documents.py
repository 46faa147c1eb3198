"""From YAML to a Manifest: documents, ConfigMaps, and a whole pod with everything in it."""

from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.documents import read_manifest
from podwright.cli.manifest.model import Manifest

MINIMAL = """
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec:
  containers: [{name: web, image: "busybox:1.36"}]
"""
EXAMPLES = Path(__file__).parents[4] / "examples"


def read(text: str) -> Manifest:
    return read_manifest(text)


def test_the_least_there_can_be() -> None:
    (pod,) = read(MINIMAL).pods
    assert pod.full_name == "default/hello"
    assert pod.restart_policy == "Always"
    assert pod.grace_s == 30
    assert pod.containers[0].pull_policy == "IfNotPresent"
    assert read(MINIMAL).warnings == ()


def test_the_example_of_the_readme_is_right() -> None:
    manifest = read((EXAMPLES / "hello.yaml").read_text())
    assert manifest.warnings == ()
    assert manifest.config_maps_of("default") == {"greeting": {"title": b"Hello from Podwright"}}
    assert manifest.config_maps_of("other") == {}
    assert [container.name for container in manifest.pods[0].all_containers] == ["write-page", "web"]


def test_several_documents() -> None:
    text = f"{MINIMAL}---\n{MINIMAL.replace('hello', 'second')}---\n"
    assert [pod.name for pod in read(text).pods] == ["hello", "second"]


def test_binary_data_of_a_config_map() -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: n}\ndata: {a: x}\nbinaryData: {b: /wA=}"
    assert read(f"{MINIMAL}\n---\n{config}").config_maps == {("n", "c"): {"a": b"x", "b": b"\xff\x00"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no Pod"),
        ("- 1", "must be an object"),
        ("a: [", "not valid YAML"),
        ("a: 1\na: 2", "line 2: 'a' is given twice"),
        ("{}", "kind: is required"),
        ("apiVersion: apps/v1\nkind: Deployment", "kind: apps/v1 Deployment can't be played"),
        (MINIMAL.replace("name: hello", "name: Hello"), "metadata.name: 'Hello' must be"),
        (MINIMAL.replace("name: hello", "name: a/../b"), "metadata.name: 'a/../b' must be"),
        (MINIMAL.replace("name: hello", "name: h, namespace: a.b"), "metadata.namespace: 'a.b' must be"),
        (MINIMAL.replace("{name: hello}", "{}"), "metadata.name: is required"),
        (MINIMAL.replace("name: hello", "name: h, uid: ../x"), "metadata.uid: '../x' must be"),
        (f"{MINIMAL}---\n{MINIMAL}", "metadata.name: pod default/hello is in the file twice"),
        (
            f"{MINIMAL}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\nbinaryData: {{a: '!'}}",
            "binaryData.a: not base64",
        ),
        (
            f"{MINIMAL}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{../a: x}}",
            r"data...\/a: a key must be usable as a file name",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        read(text)
