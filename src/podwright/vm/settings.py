"""`/etc/podwright/vm.toml`: what podwright-vm uses where it doesn't find it by itself. All of it may be left out."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import InvalidArgument

FILE = Path("/etc/podwright/vm.toml")
_MIB = 1 << 20
_CHOICES = {
    "accelerator": ("auto", "kvm", "tcg"), "machine": ("auto", "microvm", "q35"), "share": ("auto", "virtiofs", "9p"),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Sizes in MiB. `accelerator` auto: KVM where a guest really runs under it, else emulation (TCG).

    A machine of a pod with a memory limit has `overhead_mib` more than that, for its kernel and caches; one of a pod
    without has `memory_mib`. `cpus` is for pods without a CPU limit; 0: all of the host's. `machine` auto: microvm,
    where QEMU has it, else q35. `share` auto: virtiofs where virtiofsd is, else 9p.
    A machine whose agent is silent for `agent_timeout_s` is ended.
    """

    accelerator: str = "auto"
    machine: str = "auto"
    share: str = "auto"
    qemu: str = "qemu-system-x86_64"
    memory_mib: int = 1024
    overhead_mib: int = 128
    cpus: int = 1
    boot_timeout_s: float = 100.0
    agent_timeout_s: float = 60.0
    kernel: str = ""
    kernel_modules: str = ""
    guest_directory: str = "/var/lib/podwright-vm/guest"

    @property
    def overhead_bytes(self) -> int:
        return self.overhead_mib * _MIB

    @property
    def memory_bytes(self) -> int:
        return self.memory_mib * _MIB


def load(named: Path | None = None) -> Settings:
    """From the file that is named, or the usual one, if there is one.

    Raises InvalidArgument for a file that can't be understood, with the setting's name, or is named and not there.
    """
    path = named or FILE
    if named is None and not path.exists():
        return Settings()
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument(f"{path} can't be read: {error}") from error
    known = {field.name for field in dataclasses.fields(Settings)}
    if unknown := sorted(document.keys() - known):
        raise InvalidArgument(f"{path}: there is no setting {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    try:
        settings = msgspec.convert(document, type=Settings)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{path}: {error}") from error
    for name, allowed in _CHOICES.items():
        if (found := getattr(settings, name)) not in allowed:
            raise InvalidArgument(f"{path}: {name} is {', '.join(allowed[:-1])} or {allowed[-1]}, not {found!r}")
    for name in ("boot_timeout_s", "agent_timeout_s"):
        if getattr(settings, name) <= 0:
            raise InvalidArgument(f"{path}: {name} has to be more than 0")
    return settings
