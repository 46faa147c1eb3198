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


@dataclass(frozen=True)
class Settings:
    """Sizes in MiB. `accelerator` auto: KVM where a guest really runs under it, else emulation (TCG).

    A machine of a pod with a memory limit has `overhead_mib` more than that, for its kernel and caches; one of a pod
    without has `memory_mib`. `cpus` is for pods without a CPU limit; 0: all of the host's.
    """

    accelerator: str = "auto"
    qemu: str = "qemu-system-x86_64"
    memory_mib: int = 1024
    overhead_mib: int = 128
    cpus: int = 1
    boot_timeout_s: float = 100.0
    kernel: str = ""
    kernel_modules: str = ""
    guest_directory: str = "/var/lib/podwright-vm/guest"

    @property
    def overhead_bytes(self) -> int:
        return self.overhead_mib * _MIB

    @property
    def memory_bytes(self) -> int:
        return self.memory_mib * _MIB


def load(path: Path = FILE) -> Settings:
    """Raises InvalidArgument for a file that can't be understood, with the setting's name."""
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument(f"{path} can't be read: {error}") from error
    known = {field.name for field in dataclasses.fields(Settings)}
    if unknown := sorted(document.keys() - known):
        raise InvalidArgument(f"{path}: there is no setting {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    try:
        settings = msgspec.convert(document, type=Settings)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{path}: {error}") from error
    if settings.accelerator not in ("auto", "kvm", "tcg"):
        raise InvalidArgument(f"{path}: accelerator is auto, kvm or tcg, not {settings.accelerator!r}")
    return settings
