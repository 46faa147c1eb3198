"""Long lists in pieces: every item once, in order, each message far below the kubelet's limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from podwright.container.model import ContainerRecord, Containers
from podwright.cri import filters, render
from podwright.cri.chunks import CHUNK_BYTES, CHUNK_ITEMS, chunks
from podwright.criapi import api_pb2 as pb
from podwright.state.store import Store

KUBELET_LIMIT_BYTES = 16 * 1024 * 1024


def images(*sizes: int) -> list[pb.Image]:
    return [pb.Image(id="x" * size) for size in sizes]


def test_nothing_gives_no_message() -> None:
    assert list(chunks([])) == []


def test_pieces_are_cut_by_size() -> None:
    items = images(400, 400, 400)
    assert [len(chunk) for chunk in chunks(items, limit_bytes=1000)] == [2, 1]


def test_pieces_are_cut_by_number() -> None:
    assert [len(chunk) for chunk in chunks(images(*[1] * 5), limit_items=2)] == [2, 2, 1]


def test_an_item_larger_than_a_piece_goes_alone() -> None:
    items = images(10, 5000, 10)
    assert [[len(image.id) for image in chunk] for chunk in chunks(items, limit_bytes=1000)] == [[10], [5000], [10]]


def test_items_are_rendered_when_their_piece_is_due() -> None:
    rendered = 0

    def render_images() -> Iterator[pb.Image]:
        nonlocal rendered
        for image in images(*[1] * 1000):
            rendered += 1
            yield image

    next(chunks(render_images()))
    assert rendered == CHUNK_ITEMS + 1


def test_ten_thousand_containers(tmp_path: Path) -> None:
    """More than one message may hold, and all there, once each, in order."""
    store = Store(tmp_path / "state.db")
    containers = Containers(store)
    annotations = {f"io.kubernetes.container.{key}": "x" * 200 for key in "abcdefghij"}
    with store.transaction():
        for number in range(10_000):
            config = pb.ContainerConfig(metadata=pb.ContainerMetadata(name=f"c{number}"), annotations=annotations)
            containers.add(
                ContainerRecord(
                    id=f"{number:064x}", sandbox_id=f"{number // 2:064x}", config=config.SerializeToString(),
                    handler="", image_id="i", image_ref="r", reserved_at=number + 1, boot="b", created_at=number + 1,
                )
            )  # fmt: skip
    found = filters.containers(containers.visible(), pb.ContainerFilter())
    messages = [pb.StreamContainersResponse(containers=chunk) for chunk in chunks(map(render.container_item, found))]
    sizes = [message.ByteSize() for message in messages]
    assert sum(sizes) > KUBELET_LIMIT_BYTES
    assert max(sizes) < 2 * CHUNK_BYTES
    ids = [container.id for message in messages for container in message.containers]
    assert ids == [f"{number:064x}" for number in range(10_000)]
    store.close()
