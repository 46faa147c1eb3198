"""`podwright-nspawn`, also `python -m podwright.nspawn`."""

from __future__ import annotations

import sys
from pathlib import Path

import podwright
from podwright.ociruntime.base import Call, Identity, Program
from podwright.ociruntime.front import main as run


def _make(call: Call) -> Program:
    from podwright.nspawn.program import Nspawn  # --version need not wait for it

    return Nspawn(call)


IDENTITY = Identity("podwright-nspawn", podwright.__version__, Path("/run/podwright-nspawn"), _make)


def main() -> int:
    """The program; its exit code."""
    return run(IDENTITY)


if __name__ == "__main__":
    sys.exit(main())
