"""virtiofsd's command line, for both programs of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.vm import sharing, virtiofsd


def test_the_one_in_c_takes_options_after_o() -> None:
    fd, files, *rest = virtiofsd.arguments(Path("/usr/lib/qemu/virtiofsd"), Path("/share"), 7)
    assert (fd, files.partition("=")[0]) == ("--fd=7", "--rlimit-nofile")
    assert rest == ["-o", "source=/share,sandbox=chroot,cache=auto,xattr,announce_submounts"]


def test_the_one_in_rust_has_an_option_each() -> None:
    fd, _, *rest = virtiofsd.arguments(Path("/usr/libexec/virtiofsd"), Path("/share"), 7)
    assert fd == "--fd=7"
    assert rest == [
        "--shared-dir", "/share", "--sandbox", "chroot", "--cache", "auto", "--xattr", "--announce-submounts",
    ]  # fmt: skip


def test_without_one_files_are_shared_by_9p(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "virtiofsd"
    program.touch(mode=0o755)
    monkeypatch.setattr(virtiofsd, "_PROGRAMS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sharing.choose("auto") == "virtiofs"
    monkeypatch.setenv("PATH", "/nowhere")
    assert sharing.choose("auto") == "9p"
    assert sharing.choose("virtiofs") == "virtiofs"
