"""What a plugin is called, and in which pieces it is told what there is."""

from __future__ import annotations

import pytest

from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.plugin import check_identity, pages
from podwright.wire import ttrpc


def test_little_is_one_message() -> None:
    (message,) = pages([pb.PodSandbox(id="p")], [pb.Container(id="c")])
    assert (message.more, len(message.pods), len(message.containers)) == (False, 1, 1)
    assert pages([], []) == [pb.SynchronizeRequest()]


def test_much_comes_in_parts_that_fit_in_order() -> None:
    pods = [pb.PodSandbox(id=f"p{n}", annotations={"big": "x" * 1_000_000}) for n in range(5)]
    containers = [pb.Container(id=f"c{n}", annotations={"big": "x" * 700_000}) for n in range(5)]
    messages = pages(pods, containers)
    assert [message.more for message in messages] == [True] * (len(messages) - 1) + [False]
    assert all(message.ByteSize() < ttrpc.DATA_LIMIT_BYTES for message in messages)
    assert [pod.id for message in messages for pod in message.pods] == [pod.id for pod in pods]
    assert [c.id for message in messages for c in message.containers] == [c.id for c in containers]


def test_one_that_fills_a_message_by_itself() -> None:
    messages = pages([pb.PodSandbox(id="p", annotations={"big": "x" * 3_000_000})], [pb.Container(id="c")])
    assert [len(message.pods) for message in messages if message.pods] == [1]


@pytest.mark.parametrize(("index", "name"), [("1", "a"), ("100", "a"), ("1a", "a"), ("10", ""), ("10", "a/b")])
def test_identities_that_are_refused(index: str, name: str) -> None:
    with pytest.raises(Refused):
        check_identity(index, name)


def test_an_identity() -> None:
    assert check_identity("05", "a-b_c.d+e") == "05-a-b_c.d+e"
