"""What the kernel calls when it misses a module: `modprobe -q -- NAME`. kernel: admin-guide/sysctl/kernel.rst.

Containers that may, make bridges and firewall rules; who doesn't, pays nothing for those modules. A name that is not
in the index is a failure, which the kernel turns into its own error for whoever asked.
"""

from __future__ import annotations

import os
import sys

from podwright.linux import syscalls

LATER = "/modules.later"
INDEX = f"{LATER}/index"
"""A line a name or alias: the files to load, in order. Spaces between."""


def main() -> None:
    """Never returns."""
    name = sys.argv[-1].replace("-", "_")
    with open(INDEX, encoding="ascii") as index:
        for line in index:
            known, *files = line.split()
            if known.replace("-", "_") == name:
                for file in files:
                    _load(file)
                os._exit(0)
    os._exit(1)


def _load(file: str) -> None:
    descriptor = os.open(f"{LATER}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.finit_module(descriptor)
    except FileExistsError:  # loaded before
        pass
    finally:
        os.close(descriptor)
