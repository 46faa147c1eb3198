"""What the engine says of images: names in full, nulls, and layers that are counted once."""

from __future__ import annotations

import msgspec

from podwright.docker.image.model import Inspected, digests_of, record_of, tags_of
from podwright.docker.image.usage import Step, layers_of
from podwright.image.model import ImageRecord
from podwright.oci.digest import Digest

A, B, C = (Digest("sha256:" + letter * 64) for letter in "abc")


def record(*diff_ids: str) -> ImageRecord:
    return record_of(
        msgspec.json.decode(msgspec.json.encode({"Id": A, "RootFS": {"Layers": diff_ids}}), type=Inspected)
    )


def test_nulls_are_nothing() -> None:
    keys = ("RepoTags", "RepoDigests", "Created", "Config", "RootFS", "Os", "Architecture", "Variant")
    found = record_of(msgspec.json.decode(msgspec.json.encode({"Id": A, **dict.fromkeys(keys)}), type=Inspected))
    assert (found.id, found.repo_tags, found.repo_digests, found.diff_ids) == (A, [], [], [])
    assert found.user_identity() == (None, "")
    config = dict.fromkeys(("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Volumes", "ExposedPorts", "Labels"))
    found = record_of(msgspec.json.decode(msgspec.json.encode({"Id": A, "Config": config}), type=Inspected))
    assert (found.config.env, found.config.volumes, found.config.labels) == ([], [], {})


def test_names_in_full() -> None:
    assert tags_of(["busybox:1", "r.io/a/b:2", "<none>:<none>", "BAD:1"]) == [
        "docker.io/library/busybox:1",
        "r.io/a/b:2",
    ]
    assert digests_of([f"busybox@{A}", "<none>@<none>"]) == [f"docker.io/library/busybox@{A}"]
    assert tags_of(None) == digests_of(None) == []


def test_a_shared_layer_has_one_key() -> None:
    base = [Step(created=1, created_by="ADD", size=100)]
    child = [Step(created=3, created_by="RUN", size=20), Step(created=2, created_by="ENV"), *base]
    assert layers_of(record(B), base).items() < layers_of(record(B, C), child).items()
    assert sorted(layers_of(record(B, C), child).values()) == [20, 100]


def test_empty_layers_hide_nothing() -> None:
    """A layer that takes no space looks like a step without one: then the steps up to it tell layers apart."""
    base = [Step(created=2, created_by="RUN true"), Step(created=1, created_by="ADD", size=100)]
    child = [Step(created=3, created_by="RUN", size=20), *base]
    assert layers_of(record(B, C), base).items() < layers_of(record(B, C, A), child).items()
    assert sum({**layers_of(record(B, C), base), **layers_of(record(B, C, A), child)}.values()) == 120
