"""The Linux that virtual machines run: an image and the directory of its modules, configured or found in /boot.

A kernel for virtual machines is found before others: Debian's linux-image-cloud-amd64 has everything that is needed,
boots faster, and is smaller. modules.dep(5).
"""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import zstandard

from podwright.base.errors import InvalidArgument, NotFound

_BOOT = Path("/boot")
_MODULES = (Path("/lib/modules"), Path("/usr/lib/modules"))
REMEDY = "install the package linux-image-cloud-amd64, or name a kernel and the directory of its modules"
"""Where there is none; for callers that know no better one."""


@dataclass(frozen=True)
class Kernel:
    """`version` is `uname -r`; `modules` the directory with modules.dep."""

    version: str
    image: Path
    modules: Path

    @cached_property
    def _needs(self) -> dict[str, list[str]]:
        """By a module's file, those it needs."""
        return _dependencies(self.modules / "modules.dep")

    @cached_property
    def _paths(self) -> dict[str, str]:
        """By a module's name, its file."""
        return {_module_name(path): path for path in self._needs}

    @cached_property
    def _builtin(self) -> set[str]:
        return {_module_name(line) for line in _lines(self.modules / "modules.builtin")}

    def has(self, name: str) -> bool:
        """Whether it has a module, as a file or built in. Every machine's start asks: the lists aren't taken apart."""
        spellings = {f"{before}{word}.ko" for word in (name, name.replace("_", "-")) for before in "/\n"}
        lists = ("\n" + _text(self.modules / file) for file in ("modules.dep", "modules.builtin"))
        return any(spelling in text for text in lists for spelling in spellings)

    def load_order(self, required: list[str], optional: list[str], remedy: str = REMEDY) -> list[Path]:
        """The modules' files, each after those it needs; what is built into the kernel is left out.

        Raises NotFound, with the remedy, for a required one that the kernel doesn't have.
        """
        order: dict[str, None] = {}
        for name in required + optional:
            if (path := self._paths.get(name)) is not None:
                order.update(dict.fromkeys([*reversed(self._needs[path]), path]))
            elif name in required and name not in self._builtin:
                raise NotFound(f"the kernel {self.version} has no module {name}, which virtual machines need: {remedy}")
        return [self.modules / path for path in order]

    def later(self, names: list[str]) -> dict[str, list[Path]]:
        """For modules that are loaded when the kernel asks: by each name it may ask by, the files as by `load_order`.
        Those it doesn't have are left out. modules.alias(5); wildcards are of devices."""
        found: dict[str, list[Path]] = {}
        wanted = {name: files for name in names if (files := self.load_order([], [name]))}
        for line in _lines(self.modules / "modules.alias"):
            _, alias, module = line.split() if line.count(" ") == 2 else ("", "", "")
            if module in wanted and "*" not in alias:
                found[alias] = wanted[module]
        return found | wanted


def find_kernel(
    image: Path | None = None, modules: Path | None = None, required: Sequence[str] = (), remedy: str = REMEDY
) -> Kernel:
    """The kernel that is named, or the newest in /boot that has the modules `required`. `modules`: the directory of the
    named one's, named after its version.

    Raises NotFound, with the way to get one, and InvalidArgument for a file that is no kernel.
    """
    if image is not None:
        return _kernel(image, modules)
    images = sorted(_BOOT.glob("vmlinuz-*"), key=lambda path: ("cloud" in path.name, _sortable(path.name)))
    for found in reversed(images):
        try:
            kernel = _kernel(found, modules)
        except NotFound:
            continue
        if all(kernel.has(name) for name in required):
            return kernel
    needed = f"the modules {', '.join(required)}" if required else "modules"
    raise NotFound(f"there is no kernel with {needed} in {_BOOT} for virtual machines: {remedy}")


def _kernel(image: Path, modules: Path | None) -> Kernel:
    version = version_of(image)
    candidates = [modules, modules / version] if modules else [directory / version for directory in _MODULES]
    for directory in candidates:
        if (directory / "modules.dep").is_file():
            return Kernel(version, image, directory)
    places = ", ".join(str(path) for path in candidates)
    raise NotFound(f"the modules of the kernel {version} ({image}) are not in {places}: {REMEDY}")


def version_of(image: Path) -> str:
    """What `uname -r` will say, from the image itself. kernel: arch/x86/boot.rst, kernel_version."""
    try:
        with image.open("rb") as file:
            head = file.read(0x10000)
    except OSError as error:
        raise NotFound(f"the kernel {image} can't be read: {error.strerror}") from error
    if head[0x202:0x206] != b"HdrS":
        raise InvalidArgument(f"{image} is no Linux kernel for x86 (bzImage)")
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    return head[start : start + 200].split(b"\0")[0].split(b" ")[0].decode()


def _sortable(name: str) -> list[int]:
    return [int(word) for word in "".join(c if c.isdigit() else " " for c in name).split()]


def _dependencies(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in _lines(path):
        module, _, others = line.partition(":")
        found[module] = others.split()
    return found


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _text(path: Path) -> str:
    """Empty: it is not there."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _module_name(path: str) -> str:
    return Path(path).name.split(".")[0].replace("-", "_")


def module_content(path: Path) -> bytes:
    """A module's file, without the compression that distributions put it in."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return gzip.decompress(data) if path.suffix == ".gz" else data
