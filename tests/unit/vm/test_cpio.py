"""The archive, as busybox's cpio reads it."""

from __future__ import annotations

import os
from pathlib import Path

from podwright.linux.process import run
from podwright.vm.cpio import Entry, archive

ENTRIES = {
    "/init": Entry(b"#!/bin/sh\n", executable=True),
    "/usr/lib/a": Entry(b"abcde"),
    "/usr/bin/link": Entry(b"../lib/a", link=True),
}


async def test_cpio_unpacks_it(tmp_path: Path) -> None:
    await run(["busybox", "cpio", "-id"], stdin=archive(ENTRIES), cwd=tmp_path)
    assert (tmp_path / "init").read_bytes() == b"#!/bin/sh\n"
    assert os.access(tmp_path / "init", os.X_OK)
    assert not os.access(tmp_path / "usr/lib/a", os.X_OK)
    assert (tmp_path / "usr/bin/link").read_bytes() == b"abcde"


def test_the_same_entries_give_the_same_bytes() -> None:
    assert archive(ENTRIES) == archive(dict(reversed(ENTRIES.items())))
