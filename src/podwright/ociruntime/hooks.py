"""Hooks: programs of the configuration, run at points of a container's life with its state on stdin.

OCI runtime specification, config.md, "POSIX-platform Hooks". Those that have to run inside the container's namespaces,
before its root changes, are refused; the others run on the host: prestart and createRuntime when the container's
process waits for `start`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import FailedPrecondition, PodwrightError, Unimplemented
from podwright.oci.runtime_spec import Hook, StoredSpec

_REFUSED = ("createContainer", "startContainer")
_TIMEOUT_S = 60.0


def check(spec: StoredSpec) -> None:
    """Raises Unimplemented for hooks that would have to run inside the container."""
    for kind in _REFUSED:
        if spec.hooks.get(kind):
            raise Unimplemented(f"hooks.{kind} is not supported: only hooks that run in the host's namespaces are")


def run(spec: StoredSpec, kind: str, state: Mapping[str, Any]) -> None:
    """The first that fails ends it. Raises FailedPrecondition with what it said."""
    for hook in spec.hooks.get(kind) or ():
        try:
            _wait(hook, state)
        except PodwrightError as error:
            raise FailedPrecondition(f"hooks.{kind}: {error}") from error


def _wait(hook: Hook, state: Mapping[str, Any]) -> None:
    # Most containers have no hooks, and an event loop takes 30 ms to import.
    import asyncio

    from podwright.linux.process import run as run_program

    work = run_program(
        [Path(hook.path), *hook.args[1:]],
        stdin=msgspec.json.encode(state),
        env=dict(pair.split("=", 1) for pair in hook.env if "=" in pair),
        timeout_s=hook.timeout or _TIMEOUT_S,
    )
    asyncio.run(work)
