"""Names of images, split and listed."""

import pytest

from podwright.cli.images import rows_of, split_tag
from podwright.criapi import api_pb2 as pb

DIGEST = "sha256:" + "d" * 64


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("docker.io/library/busybox:1", ("docker.io/library/busybox", "1")),
        ("host:5000/app", ("host:5000/app", "<none>")),
        ("host:5000/app:v1", ("host:5000/app", "v1")),
    ],
)
def test_tags(name: str, expected: tuple[str, str]) -> None:
    assert split_tag(name) == expected


def test_rows() -> None:
    image = pb.Image(id="sha256:" + "a" * 64, repo_tags=["r/x:1", "r/y:2"], repo_digests=[f"r/x@{DIGEST}"], size=2000)
    assert list(rows_of(image, digests=True)) == [
        ("r/x", "1", DIGEST, "a" * 12, "2 kB"),
        ("r/y", "2", "<none>", "a" * 12, "2 kB"),
    ]
    dangling = pb.Image(id="b" * 64, repo_digests=[f"r/x@{DIGEST}"], size=1)
    assert list(rows_of(dangling, digests=False)) == [("r/x", "<none>", "b" * 12, "1 B")]
    assert list(rows_of(pb.Image(id="c" * 64), digests=True)) == [("<none>", "<none>", "<none>", "c" * 12, "0 B")]
