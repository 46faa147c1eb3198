"""Makes the images of the bench on the spot: a pod's, a pause, one big layer, and a Debian in ten layers.

Each is written once and kept; the layouts' directories carry a version so that a changed recipe is made anew.
"""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from bench import programs
from bench.oci_layout import Compression, LayerWriter, Layout
from bench.workspace import Workspace, remove_tree

MIB = 1 << 20
BIG_LAYER_BYTES = 200 * MIB
TREE_LAYERS = 10
# Minimal Debian plus these holds about 10,000 files.
_TREE_PACKAGES = "perl,git,python3"
_RECIPE_VERSION = 2


@dataclass(frozen=True)
class Recipe:
    """How one image is made: its repository name, its process, and the writers of its layers."""

    name: str
    entrypoint: tuple[str, ...]
    layers: Callable[[Workspace, str], list[LayerWriter]]
    """Writers of the layers of the image of this name; no two images share one, or the second pull would skip it."""
    compression: Compression = "gzip"


def layout(workspace: Workspace, recipe: Recipe) -> Path:
    """The image's OCI layout directory, made if it isn't there."""
    directory = workspace.images / f"{recipe.name}-{_RECIPE_VERSION}"
    if not (directory / "index.json").exists():
        remove_tree(directory)
        print(f"making image {recipe.name}", flush=True)
        config = {"Entrypoint": list(recipe.entrypoint), "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"]}
        Layout(directory).write(recipe.layers(workspace, recipe.name), config, recipe.compression)
    return directory


def _single_program(program: str, links: tuple[str, ...], _workspace: Workspace, _name: str) -> list[LayerWriter]:
    def write(output: IO[bytes]) -> None:
        with tarfile.open(fileobj=output, mode="w|") as tar:
            for directory in ("bin", "dev", "etc", "proc", "sys", "tmp", "run"):
                tar.addfile(_directory(directory))
            binary = programs.find(program).read_bytes()
            member = tarfile.TarInfo(f"bin/{program}")
            member.mode, member.size = 0o755, len(binary)
            tar.addfile(member, io.BytesIO(binary))
            for link in links:
                symlink = tarfile.TarInfo(f"bin/{link}")
                symlink.type, symlink.linkname = tarfile.SYMTYPE, program
                tar.addfile(symlink)

    return [write]


def _big_layer(_workspace: Workspace, name: str) -> list[LayerWriter]:
    """200 files of 1 MiB, a third random and the rest words, so that the whole compresses to about a half."""

    def write(output: IO[bytes]) -> None:
        source = random.Random(200)
        vocabulary = [source.randbytes(source.randint(1, 6)).hex() for _ in range(3000)]
        # Longer than any compressor's window at these levels, so a repetition is not found.
        text = " ".join(source.choices(vocabulary, k=4_000_000)).encode()
        at = 0
        with tarfile.open(fileobj=output, mode="w|") as tar:
            tar.addfile(_directory("data"))
            tar.addfile(tarfile.TarInfo(f"data/{name}"))
            for number in range(BIG_LAYER_BYTES // MIB):
                content = bytearray()
                while len(content) < MIB:
                    content += source.randbytes(16 * 1024) + text[at : at + 32 * 1024]
                    at = (at + 32 * 1024) % (len(text) - 32 * 1024)
                member = tarfile.TarInfo(f"data/{number:03}.bin")
                member.size = MIB
                tar.addfile(member, io.BytesIO(content[:MIB]))

    return [write]


def _tree_layers(workspace: Workspace, name: str) -> list[LayerWriter]:
    """A Debian system cut into ten layers of as many files each, in order of path."""
    root = _debian(workspace)
    entries = sorted(_walk(root))
    size = -(-len(entries) // TREE_LAYERS)
    parts = [entries[at : at + size] for at in range(0, len(entries), size)]

    def write(part: list[str], output: IO[bytes]) -> None:
        with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(tarfile.TarInfo(f"{name}-from-{part[0].replace('/', '-')}"))
            for path in part:
                tar.add(root / path, path, recursive=False)

    return [partial(write, part) for part in parts]


def _walk(root: Path) -> Iterator[str]:
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            yield str(Path(directory, name).relative_to(root))


def _debian(workspace: Workspace) -> Path:
    root = workspace.images / f"debian-{_RECIPE_VERSION}"
    done = root.with_suffix(".done")
    if not done.exists():
        print("making a Debian tree with debootstrap: about a minute", flush=True)
        remove_tree(root)
        programs.run(
            programs.find("debootstrap"), "--variant=minbase", f"--include={_TREE_PACKAGES}", _suite(), root,
            timeout_s=1800,
        )  # fmt: skip
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        done.touch()
    return root


def _suite() -> str:
    release = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release.get("VERSION_CODENAME", "stable").strip('"') if release.get("ID") == "debian" else "stable"


def _directory(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member


POD = Recipe("pod", ("/bin/sleep", "1000000"), partial(_single_program, "busybox", ("sh", "sleep", "true", "cat")))
# What containerd keeps in each pod. As small as the usual pause image, and in Debian.
PAUSE = Recipe("pause", ("/bin/catatonit", "-P"), partial(_single_program, "catatonit", ()))
PULLS = (
    Recipe("big-gzip", ("/bin/true",), _big_layer, "gzip"),
    Recipe("big-zstd", ("/bin/true",), _big_layer, "zstd"),
    Recipe("tree-gzip", ("/bin/true",), _tree_layers, "gzip"),
    Recipe("tree-zstd", ("/bin/true",), _tree_layers, "zstd"),
)
