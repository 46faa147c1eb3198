"""What an image's record says about itself."""

from __future__ import annotations

import msgspec
import pytest

from podwright.image.model import ImageRecord
from podwright.oci.digest import Digest
from podwright.oci.image import Platform, RunConfig

DIGEST, OTHER, ID = (Digest(f"sha256:{letter * 64}") for letter in "abc")
HERE, THERE = f"docker.io/library/app@{DIGEST}", f"registry.example/team/app@{OTHER}"
RECORD = ImageRecord(
    id=ID, repo_tags=[], repo_digests=[HERE, THERE], manifest=DIGEST, blobs={}, diff_ids=[], config=RunConfig(),
    platform=Platform(os="linux", architecture="amd64"), size_bytes=1, pulled_at=0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        (("app",), HERE), (("app:v2",), HERE), (("registry.example/team/app:v1",), THERE), ((THERE, "app"), THERE),
        (("", "registry.example/team/app"), THERE), ((ID,), HERE), ((), HERE), (("unknown/app", "c" * 64), HERE),
    ],
)  # fmt: skip
def test_the_reference_is_of_the_repository_that_was_named(names: tuple[str, ...], reference: str) -> None:
    assert RECORD.reference_for(*names) == reference


def test_an_image_of_no_registry_is_its_id() -> None:
    assert msgspec.structs.replace(RECORD, repo_digests=[]).reference_for("app") == ID
