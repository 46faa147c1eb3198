"""`/etc/podwright/vm.toml`: what is wrong there is told with its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.vm import settings
from podwright.vm.settings import Settings, load


def test_none_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "FILE", tmp_path / "none")
    assert load() == Settings()
    with pytest.raises(InvalidArgument, match="none can't be read"):
        load(tmp_path / "none")


def test_what_is_set(tmp_path: Path) -> None:
    path = tmp_path / "vm.toml"
    path.write_text('accelerator = "tcg"\nmemory_mib = 300\n')
    assert load(path) == Settings(accelerator="tcg", memory_mib=300)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memory = 3", "there is no setting 'memory'; there are: accelerator"),
        ('memory_mib = "much"', "memory_mib"),
        ('accelerator = "xen"', "accelerator is auto, kvm or tcg"),
        ('machine = "pc"', "machine is auto, microvm or q35, not 'pc'"),
        ("agent_timeout_s = 0.0", "agent_timeout_s has to be more than 0"),
        ("[", "can't be read"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "vm.toml"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match=words):
        load(path)
