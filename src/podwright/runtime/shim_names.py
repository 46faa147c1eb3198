"""What containerd's shims are called: a runtime's name in its configuration, and the program's. Pure.

io.containerd.kata.v2 is run by containerd-shim-kata-v2. containerd, pkg/shim/util.go.
"""

from __future__ import annotations

from pathlib import Path

_PREFIX, _TYPE_PREFIX = "containerd-shim-", "io.containerd."


def is_shim(word: str) -> bool:
    """Whether a path or a word goes without saying for a shim."""
    return Path(word).name.startswith((_PREFIX, _TYPE_PREFIX))


def program_of(word: str) -> str:
    """The program that a word means; a path, or a word without a dot, is one already."""
    if "/" in word or "." not in word:
        return word
    kind, version = word.split(".")[-2:]
    return f"{_PREFIX}{kind}-{version}"


def type_of(program: str) -> str:
    """The name in containerd's configuration of what a program runs."""
    return f"{_TYPE_PREFIX}{Path(program).name.removeprefix(_PREFIX).replace('-', '.')}"


def calls_oci_runtime(word: str) -> bool:
    """Whether it is containerd's own shim, which calls runc, or what has runc's command line."""
    return Path(program_of(word)).name.startswith(f"{_PREFIX}runc-")
