"""Features from documents and from versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.runtime.features import from_version, numbers, on_kernel, parse_version, read_features

DOCUMENT = """{"ociVersionMin":"1.0.0","ociVersionMax":"1.1.0","mountOptions":["ro","rro"],
 "linux":{"namespaces":["user","net"],"seccomp":{"enabled":true},"mountExtensions":{"idmap":{"enabled":true}}}}"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crun version 1.8.1\ncommit: f8a0\n", ("crun", "1.8.1")),
        ("runc version 1.1.5+ds1\ncommit: x", ("runc", "1.1.5+ds1")),
        ("runsc version release-20221212.0\nspec: 1.0.2", ("runsc", "release-20221212.0")),
        ("something else", ("fallback", "")),
        ("", ("fallback", "")),
    ],
)
def test_version(text: str, expected: tuple[str, str]) -> None:
    assert parse_version(text, "fallback") == expected


def test_numbers() -> None:
    assert numbers("1.8.1") == (1, 8, 1)
    assert numbers("1.1.5+ds1") == (1, 1, 5)
    assert numbers("") == ()


def _program(directory: Path, features: str) -> Path:
    script = directory / "runtime"
    body = f"cat <<'X'\n{features}\nX" if features else "exit 1"
    script.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "fake version 2.0"; exit; fi\n{body}\n')
    script.chmod(0o755)
    return script


async def test_a_document(tmp_path: Path) -> None:
    features = await read_features(_program(tmp_path, DOCUMENT), timeout_s=10)
    assert (features.name, features.version) == ("fake", "2.0")
    assert features.recursive_read_only_mounts
    assert features.user_namespaces
    assert features.idmapped_mounts
    assert features.seccomp
    assert not features.compiled_seccomp


@pytest.mark.parametrize("document", ["", "not json", "[]"])
async def test_none(tmp_path: Path, document: str) -> None:
    features = await read_features(_program(tmp_path, document), timeout_s=10)
    assert not features.recursive_read_only_mounts
    assert not features.idmapped_mounts


def test_what_old_cruns_can() -> None:
    old = from_version("crun", "1.8.1")
    assert old.recursive_read_only_mounts
    assert old.idmapped_mounts
    assert old.compiled_seccomp
    assert not from_version("crun", "0.17").compiled_seccomp


def test_who_can_checkpoint() -> None:
    assert from_version("crun", "1.8.1", built_with=frozenset({"+CAP", "+CRIU"})).checkpoint
    assert not from_version("crun", "1.8.1", built_with=frozenset({"+CAP"})).checkpoint


@pytest.mark.parametrize("runtime", ["org.opencontainers.runc", "run.oci.crun"])
async def test_checkpoint_annotation(tmp_path: Path, runtime: str) -> None:
    for value in ("true", "false"):
        document = f'{{"annotations": {{"{runtime}.checkpoint.enabled": "{value}"}}}}'
        features = await read_features(_program(tmp_path, document), timeout_s=10)
        assert features.checkpoint == (value == "true")


def test_what_the_kernel_can_not() -> None:
    crun = from_version("crun", "1.8.1")
    assert on_kernel(crun, "5.12.0-generic") == crun
    assert on_kernel(crun, "6.1.0-13-amd64") == crun
    old = on_kernel(crun, "5.10.0-26-amd64")
    assert not old.recursive_read_only_mounts
    assert old.version == crun.version
