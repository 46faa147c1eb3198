"""The index of images: every name leads to the one record, and a tag to one image only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.image.model import ImageRecord
from podwright.image.store import ImageStore, Names
from podwright.oci.digest import Digest
from podwright.oci.image import Platform, RunConfig
from podwright.state.store import Store

BUSYBOX = "docker.io/library/busybox"


def image(digits: str, user: str = "") -> ImageRecord:
    digest = Digest("sha256:" + digits.ljust(64, "0"))
    return ImageRecord(
        id=digest, repo_tags=[], repo_digests=[], manifest=digest, blobs={digest: 5}, diff_ids=[],
        config=RunConfig(user=user), platform=Platform("linux", "amd64"), size_bytes=5, pulled_at=0,
    )  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


@pytest.fixture
def images(database: Store) -> ImageStore:
    return ImageStore(database)


def test_short_names_mean_the_same(images: ImageStore) -> None:
    record = images.put(image("abcdef12"), Names([f"{BUSYBOX}:latest"], [f"{BUSYBOX}@{image('99').id}"]))
    for name in ("busybox", "busybox:latest", "library/busybox", "docker.io/busybox", "index.docker.io/library/busybox",
                 f"busybox@{image('99').id}", f"busybox:v9@{image('99').id}", "abcdef12", "abcdef1"):  # fmt: skip
        assert images.get(name) == record, name
    assert images.get("busybox:v2") is None


def test_a_name_comes_before_a_prefix(images: ImageStore) -> None:
    images.put(image("decade1"), Names())
    named = images.put(image("42"), Names(["docker.io/library/decade:latest"]))
    assert images.get("decade") == named


def test_prefixes(images: ImageStore) -> None:
    one = images.put(image("abcdef1"), Names())
    images.put(image("abcdef2"), Names())
    assert images.get("abcdef1") == one
    assert images.get("abcde") is None, "too short to be meant as an id"
    with pytest.raises(InvalidArgument, match="fits more than one"):
        images.get("abcdef")


def test_a_tag_moves(images: ImageStore, database: Store) -> None:
    old = images.put(image("01"), Names([f"{BUSYBOX}:latest", f"{BUSYBOX}:v1"]))
    new = images.put(image("02"), Names([f"{BUSYBOX}:latest"]))
    for store in (images, ImageStore(database)):
        assert store.get("busybox") == new
        left = store.get(old.id)
        assert left is not None
        assert left.repo_tags == [f"{BUSYBOX}:v1"]


def test_the_same_again_writes_nothing(images: ImageStore) -> None:
    first = images.put(image("01"), Names([f"{BUSYBOX}:latest"]))
    generation = images.generation
    assert images.put(image("01"), Names([f"{BUSYBOX}:latest"])) == first
    assert images.generation == generation


def test_removal_forgets_every_name(images: ImageStore, database: Store) -> None:
    record = images.put(image("01ab02"), Names([f"{BUSYBOX}:latest"], [f"{BUSYBOX}@{image('01').id}"]))
    images.remove(record.id)
    images.remove(record.id)
    for store in (images, ImageStore(database)):
        assert [store.get(name) for name in ("busybox", record.id, "01ab02")] == [None] * 3
        assert store.list() == []


@pytest.mark.parametrize("pattern", ["busybox", f"{BUSYBOX}:*", "*busybox*"])
def test_pinned(database: Store, pattern: str) -> None:
    images = ImageStore(database, [pattern])
    assert images.put(image("01"), Names([f"{BUSYBOX}:latest"])).pinned
    assert not images.put(image("02"), Names(["docker.io/library/other:latest"])).pinned
    assert not ImageStore(database).list()[0].pinned


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ("", (None, "")), ("0", (0, "")), ("1000", (1000, "")), ("1000:1000", (1000, "")), ("www", (None, "www")),
        ("www:grp", (None, "www")), (":grp", (None, "")), ("4294967296", (4294967296, "")), ("-1", (None, "-1")),
        ("0x0", (None, "0x0")), ("9" * 30, (None, "9" * 30)), ("٣", (None, "٣")),
    ],
)  # fmt: skip
def test_users(user: str, identity: tuple[int | None, str]) -> None:
    assert image("01", user).user_identity() == identity
