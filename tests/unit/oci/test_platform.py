"""The choice among an index's manifests."""

from __future__ import annotations

import pytest

from podwright.oci.digest import digest_of
from podwright.oci.image import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Platform
from podwright.oci.platform import NoPlatform, _amd64_level, choose, host_platform, same_platform


def platform(text: str) -> Platform:
    return Platform(*text.split("/"))


def entry(text: str | None, **members: object) -> Descriptor:
    return Descriptor(
        str(members.get("media_type", OCI_MANIFEST)), digest_of(str((text, members)).encode()), 1,
        platform(text) if text else None, annotations=members.get("annotations"),  # type: ignore[arg-type]
    )  # fmt: skip


def chosen(machine: str, *platforms: str | None) -> str | None:
    found = choose(Index(OCI_INDEX, [entry(text) for text in platforms], {}), platform(machine))
    return str(found.platform) if found.platform else None


@pytest.mark.parametrize(
    ("machine", "present", "expected"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["windows/amd64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v3"], "linux/amd64/v3"),
        ("linux/amd64", ["linux/amd64/v2", "linux/386"], "linux/386"),
        ("linux/arm64/v8", ["linux/arm/v7", "linux/arm64"], "linux/arm64"),
        ("linux/arm64/v8", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm/v7", ["linux/arm/v8", "linux/arm/v6", "linux/arm/v5"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/arm/v7", ["linux/arm/7"], "linux/arm/7"),
        ("linux/s390x", ["linux/s390x"], "linux/s390x"),
        ("linux/s390x", ["linux/amd64", None], None),
        ("linux/amd64", [None, "linux/amd64"], "linux/amd64"),
    ],
)
def test_choice(machine: str, present: list[str | None], expected: str | None) -> None:
    assert chosen(machine, *present) == expected


def test_nothing_that_fits() -> None:
    with pytest.raises(NoPlatform, match=r"q\.io/a has nothing for linux/s390x: it has linux/amd64, windows/amd64"):
        choose(
            Index(OCI_INDEX, [entry("windows/amd64"), entry("linux/amd64")], {}), platform("linux/s390x"), name="q.io/a"
        )
    with pytest.raises(NoPlatform, match="no manifests at all"):
        chosen("linux/amd64")


def test_attestations_and_artifacts_are_never_chosen() -> None:
    attestation = entry("unknown/unknown")
    referring = entry("linux/amd64", annotations={"vnd.docker.reference.type": "attestation-manifest"})
    artifact = entry("linux/amd64", media_type="application/json")
    image = entry("linux/amd64")
    assert choose(Index(OCI_INDEX, [attestation, referring, artifact, image], {}), platform("linux/amd64")) is image
    with pytest.raises(NoPlatform):
        choose(Index(OCI_INDEX, [attestation, referring, artifact], {}), platform("linux/amd64"))


def test_an_index_within_an_index_can_be_chosen() -> None:
    inner = entry("linux/amd64", media_type=OCI_INDEX)
    assert choose(Index(OCI_INDEX, [inner], {}), platform("linux/amd64")).is_index


def test_the_host_is_a_linux_that_equals_itself() -> None:
    host = host_platform()
    assert host.os == "linux"
    assert host.architecture
    assert same_platform(host, host)


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("", ""),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3", "v2"),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", "v3"),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", ""),
    ],
)
def test_levels_of_amd64(flags: str, level: str) -> None:
    assert _amd64_level(set(flags.split())) == level
