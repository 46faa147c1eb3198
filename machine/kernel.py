"""Debian's cloud kernel, from its package: downloaded once, unpacked in the cache, never installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

METAPACKAGE = "linux-image-cloud-amd64"


@dataclass(frozen=True)
class Kernel:
    """`modules`: the directory that is the machine's /usr/lib/modules."""

    version: str
    image: Path
    modules: Path

    def load_order(self, names: list[str]) -> list[Path]:
        """The modules with what each needs before it. modules.dep(5)."""
        directory = self.modules / self.version
        needs: dict[str, list[str]] = {}
        for line in (directory / "modules.dep").read_text().splitlines():
            path, _, others = line.partition(":")
            needs[path] = others.split()
        paths = {Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
        order: dict[str, None] = {}
        for path in (paths[name] for name in names):
            order.update(dict.fromkeys([*reversed(needs[path]), path]))
        return [directory / path for path in order]


def kernel(cache: Path) -> Kernel:
    """The kernel in the cache; brought there when the cache has none."""
    found = sorted(cache.glob("boot/vmlinuz-*"))
    if not found:
        _download(cache)
        found = sorted(cache.glob("boot/vmlinuz-*"))
    image = found[-1]
    return Kernel(image.name.removeprefix("vmlinuz-"), image, cache / "lib/modules")


def _download(cache: Path) -> None:
    staging = cache.with_name(cache.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        name = _package()
        print(f"machine: downloading {name}", flush=True)
        _run("apt-get", "download", "-q", name, cwd=staging)
        _run("dpkg-deb", "-x", os.fspath(next(staging.glob("*.deb"))), os.fspath(staging / "x"))
        version = next((staging / "x/lib/modules").iterdir()).name
        _run("depmod", "-b", os.fspath(staging / "x"), version)
        shutil.rmtree(cache, ignore_errors=True)
        (staging / "x").rename(cache)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _package() -> str:
    """The package that the metapackage depends on; its name has the version in it."""
    lines = _run("apt-cache", "depends", METAPACKAGE).splitlines()
    return next(line.split()[-1] for line in lines if "Depends: linux-image" in line)


def _run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"machine: {argv[0]}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout
