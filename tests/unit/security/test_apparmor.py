"""AppArmor with and without the kernel's help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, NotFound
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
