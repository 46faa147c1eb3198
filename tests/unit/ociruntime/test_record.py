"""Records of containers: ids, locks, and what a crash leaves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from podwright.base.errors import AlreadyExists, InvalidArgument, NotFound
from podwright.ociruntime.record import Containers, check_id

FACTS = {"bundle": "/b", "rootfs": "/b/rootfs", "annotations": {"a": "b"}}


@pytest.mark.parametrize("container_id", ["", ".", "..", "a/b", "a b", "x" * 201, "ü", "a\n"])
def test_no_id(container_id: str) -> None:
    with pytest.raises(InvalidArgument):
        check_id(container_id)


def test_a_container_is_known_from_the_first_moment(tmp_path: Path) -> None:
    containers = Containers(tmp_path / "root")
    with containers.new("one", b"{}", **FACTS) as container:
        known = containers.read("one")
        assert known.record.annotations == {"a": "b"}
        assert (known.process, known.under_way) == (None, True)
        container.set_process(os.getpid())
        container.details["x"] = 1
        container.save()
    known = containers.read("one")
    assert known.details == {"x": 1}
    assert known.process is not None
    assert not known.under_way
    with pytest.raises(AlreadyExists), containers.new("one", b"{}", **FACTS):
        pass


def test_a_process_of_another_boot_has_ended(tmp_path: Path) -> None:
    containers = Containers(tmp_path)
    with containers.new("one", b"{}", **FACTS) as container:
        container.set_process(os.getpid())
        container.record.boot_id = "another"
        container.save()
    assert containers.read("one").process is None


def test_a_creation_that_broke_off_before_its_record(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "not an id").mkdir()
    containers = Containers(tmp_path)
    assert [container.id for container in containers.all()] == ["one"]
    assert containers.read("one").process is None
    with containers.locked("one") as container:
        containers.forget(container)
    with pytest.raises(NotFound):
        containers.read("one")


def test_who_waits_for_a_lock_sees_that_the_container_is_gone(tmp_path: Path) -> None:
    containers, outcome = Containers(tmp_path), list[str]()
    with containers.new("one", b"{}", **FACTS):
        pass

    def wait() -> None:
        try:
            with containers.locked("one"):
                outcome.append("locked")
        except NotFound:
            outcome.append("gone")

    with containers.locked("one") as container:
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.1)
        assert outcome == []
        containers.forget(container)
    waiting.join(10)
    assert outcome == ["gone"]
