"""The wrapper's words; that it works is proven with a real kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.runtime import hybrid
from podwright.runtime.base import RuntimeCommand

COMMAND = RuntimeCommand(Path("/usr/bin/crun"), ("--root", "/r"))


def test_needed_where_the_unified_hierarchy_has_controllers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "UNIFIED", tmp_path)
    assert not hybrid.needed()
    (tmp_path / "cgroup.controllers").write_text("\n")
    assert not hybrid.needed()
    (tmp_path / "cgroup.controllers").write_text("hugetlb rdma\n")
    assert hybrid.needed()


@pytest.mark.parametrize(("machine", "number"), [("x86_64", "272"), ("aarch64", "97")])
def test_perl_with_the_machines_numbers(machine: str, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "find_program", lambda name: Path("/usr/bin", name))
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "r", "v", machine)))
    wrapped = hybrid.wrapped(COMMAND)
    assert wrapped.path == Path("/usr/bin/perl")
    assert wrapped.global_args[0] == "-e"
    assert f"syscall({number}, 0x20000)" in wrapped.global_args[1]
    assert wrapped.global_args[2:] == ("/usr/bin/crun", "--root", "/r")


def test_util_linux_on_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "find_program", lambda name: Path("/usr/bin", name))
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "r", "v", "mips")))
    wrapped = hybrid.wrapped(COMMAND)
    assert wrapped.path == Path("/usr/bin/unshare")
    assert wrapped.global_args[:3] == ("--mount", "--propagation", "unchanged")
    assert wrapped.global_args[-4:] == ("crun", "/usr/bin/crun", "--root", "/r")
