"""AppArmor with and without the kernel's help."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from podwright.base.errors import FailedPrecondition, NotFound
from podwright.linux.process import find_program, run
from podwright.security import apparmor


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    apparmor.available.cache_clear()
    yield
    apparmor.available.cache_clear()


def _kernel(monkeypatch: pytest.MonkeyPatch, directory: Path, enabled: str, *profiles: str) -> None:
    (directory / "enabled").write_text(enabled)
    (directory / "profiles").write_text("".join(f"{name} (enforce)\n" for name in profiles))
    monkeypatch.setattr(apparmor, "_ENABLED", directory / "enabled")
    monkeypatch.setattr(apparmor, "_LOADED", directory / "profiles")


def test_loaded_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _kernel(monkeypatch, tmp_path, "Y\n", "mine", "with space (x)")
    assert apparmor.localhost_profile("mine") == "mine"
    assert apparmor.localhost_profile("with space (x)") == "with space (x)"
    assert apparmor.default_profile() == ""
    with pytest.raises(NotFound, match="apparmor_parser"):
        apparmor.localhost_profile("other")


def test_the_default_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _kernel(monkeypatch, tmp_path, "Y\n", apparmor.DEFAULT_PROFILE)
    assert apparmor.default_profile() == apparmor.DEFAULT_PROFILE


@pytest.mark.parametrize("enabled", ["N\n", ""])
def test_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, enabled: str) -> None:
    _kernel(monkeypatch, tmp_path, enabled, apparmor.DEFAULT_PROFILE)
    assert apparmor.default_profile() == ""
    with pytest.raises(FailedPrecondition):
        apparmor.localhost_profile("mine")


def test_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apparmor, "_ENABLED", tmp_path / "nothing")
    assert not apparmor.available()


def _parser(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> None:
    parser = directory / "apparmor_parser"
    parser.write_text(f"#!/bin/sh\n{script}\n")
    parser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


async def test_the_default_is_loaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _kernel(monkeypatch, tmp_path, "Y\n", "other")
    profile, calls = tmp_path / "profile", tmp_path / "calls"
    load = (
        f"""cat > {profile}; echo "$@" >> {calls}; echo "{apparmor.DEFAULT_PROFILE} (enforce)" >> {tmp_path}/profiles"""
    )
    _parser(monkeypatch, tmp_path, load)
    await apparmor.load_default()
    await apparmor.load_default()
    assert calls.read_text().splitlines() == ["--add --skip-cache"]
    assert f"profile {apparmor.DEFAULT_PROFILE} flags=" in profile.read_text()
    assert apparmor.default_profile() == apparmor.DEFAULT_PROFILE


async def test_a_parser_that_fails_or_is_missing_leaves_containers_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _kernel(monkeypatch, tmp_path, "Y\n")
    _parser(monkeypatch, tmp_path, "echo 'syntax error' >&2; exit 1")
    with capture_logs() as logs:
        await apparmor.load_default()
    assert "syntax error" in logs[0]["error"]
    assert apparmor.default_profile() == ""


async def test_without_apparmor_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _kernel(monkeypatch, tmp_path, "N\n")
    _parser(monkeypatch, tmp_path, f"touch {tmp_path}/called")
    await apparmor.load_default()
    assert not (tmp_path / "called").exists()


@pytest.mark.skipif(find_program("apparmor_parser") is None, reason="apparmor_parser is not installed")
async def test_the_parser_takes_the_default() -> None:
    text = (files("podwright.security") / "default.apparmor").read_bytes()
    await run(["apparmor_parser", "--skip-kernel-load", "--skip-read-cache"], stdin=text)
