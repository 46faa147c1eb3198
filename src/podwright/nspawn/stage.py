"""The stage: what nspawn takes for the container's tree. Mount points, and the host's programs, read-only.

The interpreter that runs here runs there as well, from the same paths, with this package beside it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import podwright

_PACKAGE = Path(podwright.__file__).resolve().parent
_SHOWN_PACKAGE = "/podwright-package"
# Either links into /usr or directories of their own, as the distribution has it. file-hierarchy(7).
_TOP = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_START = "import sys; sys.path.insert(0, {path!r}); from podwright.nspawn.{module} import main; main()"


def interpreter() -> Path:
    """The program itself, behind the links of a virtual environment."""
    return Path(sys.executable).resolve()


def start(module: str, *, package: Path | None = None) -> list[str]:
    """A command line that runs `main` of a module of this room without a site's packages."""
    path = str(_PACKAGE.parent) if package is None else str(package)
    return [str(interpreter()), "-I", "-S", "-c", _START.format(path=path, module=module)]


def make(directory: Path) -> tuple[dict[str, str], list[str]]:
    """Make the tree in `directory`. What nspawn shows in it (see `options`), and the command to run there."""
    directory.mkdir(mode=0o700)
    (directory / "container").mkdir()
    (directory / "usr").mkdir()
    shown = {"/usr": "/usr", f"{_SHOWN_PACKAGE}/podwright": str(_PACKAGE)}
    for name in _TOP:
        path = Path("/", name)
        if path.is_symlink():
            (directory / name).symlink_to(os.readlink(path))  # noqa: PTH115 - as it is, not resolved
        elif path.is_dir():
            shown[f"/{name}"] = f"/{name}"
    for needed in (Path(sys.base_prefix).resolve(), interpreter().parent):
        if not any(needed.is_relative_to(source) for source in shown.values()):
            shown[str(needed)] = str(needed)
    return shown, start("first_step", package=Path(_SHOWN_PACKAGE))
