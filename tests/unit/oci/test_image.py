"""Manifests and configs: what is read of good ones, and what is refused of hostile ones."""

from __future__ import annotations

import json
import resource
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.errors import InvalidArgument
from podwright.oci.image import (
    CONFIG_LIMIT_BYTES,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    parse_config,
    parse_manifest,
)

DIGEST = "sha256:" + "ab" * 32
BLOB = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 7}
IMAGE: dict[str, Any] = {"schemaVersion": 2, "config": BLOB, "layers": [BLOB, BLOB]}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "manifests": [{**BLOB, "mediaType": OCI_MANIFEST, "platform": {"os": "linux", "architecture": "arm64"}}],
}


def parse(document: Any, media_type: str = "") -> Manifest | Index:
    return parse_manifest(json.dumps(document).encode(), media_type)


@pytest.mark.parametrize("kind", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_manifest(kind: str) -> None:
    manifest = parse({**IMAGE, "mediaType": kind, "annotations": {"a": "b"}}, f"{kind}; charset=utf-8")
    assert isinstance(manifest, Manifest)
    assert manifest.media_type == kind
    assert [layer.size for layer in manifest.layers] == [7, 7]
    assert manifest.annotations == {"a": "b"}


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_INDEX])
def test_index(kind: str) -> None:
    index = parse(INDEX, kind)
    assert isinstance(index, Index)
    assert index.media_type == kind
    assert str(index.manifests[0].platform) == "linux/arm64"


def test_the_shape_decides_where_nobody_names_a_type() -> None:
    assert isinstance(parse(IMAGE, "application/json"), Manifest)
    assert isinstance(parse(INDEX, "text/plain"), Index)
    assert isinstance(parse({**IMAGE, "mediaType": DOCKER_MANIFEST}), Manifest)


@pytest.mark.parametrize(
    ("document", "media_type", "words"),
    [
        ({**IMAGE, "manifests": []}, "", "ambiguous"),
        ({**INDEX, "layers": []}, OCI_INDEX, "ambiguous"),
        ({**INDEX, "config": BLOB}, OCI_INDEX, "ambiguous"),
        ({**IMAGE, "mediaType": OCI_INDEX}, OCI_MANIFEST, "announced as"),
        ({**IMAGE, "mediaType": OCI_MANIFEST}, DOCKER_MANIFEST, "announced as"),
        (IMAGE, OCI_INDEX, "has no `manifests`"),
        (INDEX, OCI_MANIFEST, "neither `config` nor `layers`"),
        ({**IMAGE, "mediaType": "text/html"}, "", "not that of an image"),
        ({**IMAGE, "schemaVersion": 1}, "", "schema 1"),
        ({"schemaVersion": 1, "fsLayers": [], "name": "x"}, "", "schema 1"),
        (IMAGE, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        ({**IMAGE, "schemaVersion": 3}, "", "must be 2"),
        ({}, "", "missing, must be 2"),
        ({"schemaVersion": 2}, "", "has no `manifests`"),
        ({"schemaVersion": 2, "layers": [BLOB]}, "", "no config"),
        ({**IMAGE, "layers": [BLOB] * 501}, "", "501 layers"),
        ({**IMAGE, "layers": {}}, "", "array"),
        ({**IMAGE, "layers": [None]}, "", "Descriptor|object"),
        ({**IMAGE, "config": {**BLOB, "digest": "sha256:../../etc/passwd"}}, "", "is not a sha256"),
        ({**IMAGE, "config": {**BLOB, "size": -1}}, "", "out of range"),
        ({**IMAGE, "config": {**BLOB, "size": 2**63}}, "", "out of range"),
        ({**IMAGE, "config": {**BLOB, "size": "7"}}, "", "int"),
        ({**IMAGE, "config": {**BLOB, "size": 1.5}}, "", "int"),
        ([], "", "object"),
        ("x", "", "object"),
    ],
)
def test_bad_manifests_are_refused_with_a_reason(document: Any, media_type: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse(document, media_type)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 1_000_000,
        b'{"schemaVersion":2,"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"schemaVersion":2,"layers":[' + b"{}," * 1_000_000 + b"{}]}",
        b'{"schemaVersion":2,"annotations":{' + b",".join(b'"%d":""' % n for n in range(200_000)) + b"}}",
        b" " * (MANIFEST_LIMIT_BYTES + 1),
        b'{"schemaVersion":2,"layers":[{"mediaType":"\xff"}]}',
    ],
    ids=["empty", "utf16", "open", "deep", "deep-unknown", "wide", "many-annotations", "big", "not-utf8"],
)
def test_bombs_are_refused_in_bounded_memory(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidArgument):
        parse_manifest(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_config_bomb_is_refused_in_bounded_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidArgument, match="values"):
        parse_config(b'{"history":[' + b"{}," * 2_000_000 + b"{}]}")
    with pytest.raises(InvalidArgument, match="at most"):
        parse_config(b" " * (CONFIG_LIMIT_BYTES + 1))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


_MEMBERS = ("schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "platform", "rootfs")
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(_MEMBERS),
            inner,
        )
    ),
    max_leaves=20,
)


@given(_values)
def test_any_document_is_read_or_refused(document: Any) -> None:
    data = json.dumps(document).encode()
    for read in (parse_manifest, parse_config):
        try:
            read(data)
        except InvalidArgument:
            continue


def test_config() -> None:
    config = parse_config(
        json.dumps(
            {
                "created": "2024-01-02T03:04:05Z",
                "architecture": "arm",
                "variant": "v7",
                "os": "linux",
                "config": {
                    "User": "www:grp", "Env": ["A=b", "EMPTY="], "Entrypoint": ["/bin/sh", "-c"], "Cmd": "true",
                    "WorkingDir": "/srv", "StopSignal": "SIGQUIT", "Volumes": {"/data": {}},
                    "ExposedPorts": {"80/tcp": {}}, "Labels": {"l": "v"}, "Healthcheck": {"Test": ["NONE"]},
                },
                "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
                "history": [{"created_by": "x"}, {"empty_layer": True}],
            }
        ).encode()
    )  # fmt: skip
    assert str(config.platform) == "linux/arm/v7"
    assert config.run.user == "www:grp"
    assert (config.run.entrypoint, config.run.cmd) == (["/bin/sh", "-c"], ["true"])
    assert (config.run.volumes, config.run.exposed_ports) == (["/data"], ["80/tcp"])
    assert config.run.labels == {"l": "v"}
    assert config.diff_ids == [DIGEST]
    assert [step.empty_layer for step in config.history] == [None, True]


def test_a_config_may_say_nothing_or_null_everywhere() -> None:
    nothing = parse_config(b"{}")
    names = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "StopSignal", "Volumes", "ExposedPorts", "Labels")
    nulls = {"config": dict.fromkeys(names), "rootfs": None, "history": None, "created": None, "variant": None}
    assert parse_config(json.dumps(nulls).encode()) == nothing
    assert nothing.run.env == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"rootfs": {"diff_ids": ["sha256:x"]}}, "no digest"),
        ({"rootfs": {"diff_ids": [DIGEST] * 501}}, "501 diff_ids"),
        ({"config": {"Env": "A=b"}}, "Env|env"),
        ({"config": {"Cmd": [1]}}, "str"),
        ({"os": 1}, "str"),
    ],
)
def test_bad_configs_are_refused_with_a_reason(document: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_config(json.dumps(document).encode())


def test_descriptors_are_written_as_the_specification_has_them() -> None:
    descriptor = msgspec.json.decode(
        b'{"mediaType":"m","digest":"%s","size":1,"platform":{"os":"windows","architecture":"amd64","os.version":"10"}}'
        % DIGEST.encode(),
        type=Descriptor,
    )
    assert descriptor.platform is not None
    assert descriptor.platform.os_version == "10"
    written = json.loads(msgspec.json.encode(descriptor))
    assert written == {
        "mediaType": "m", "digest": DIGEST, "size": 1,
        "platform": {"os": "windows", "architecture": "amd64", "os.version": "10"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("media_type", "foreign"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.v1.tar+zstd", False),
    ],
)
def test_foreign_layers_are_known_by_their_type(media_type: str, foreign: bool) -> None:
    descriptor = msgspec.convert({**BLOB, "mediaType": media_type}, Descriptor)
    assert descriptor.is_foreign is foreign
