"""From a RuntimeClass handler's name to a runtime with its settings; which runtime is the default, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from podwright.base.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.base.log import get_logger
from podwright.linux.process import find_program
from podwright.runtime import hybrid
from podwright.runtime.base import Features
from podwright.runtime.cli import CliRuntime

log = get_logger(__name__)

_PREFERRED = ("crun", "runc")
_REASONS = {
    "crun": "it is installed and creates a container three times faster than runc",
    "runc": "crun is not installed",
}


@dataclass(frozen=True)
class HandlerSettings:
    """`[runtime.handlers.NAME]`: one RuntimeClass handler."""

    path: str = field(default="", metadata={"help": "The runtime's program: a path, or a word looked up in PATH."})
    type: Literal["oci"] = field(default="oci", metadata={"help": "How it is driven; oci: runc's command line."})
    root: Path | None = field(
        default=None, metadata={"help": "Where it keeps its state; default: a directory below the run directory."}
    )
    options: tuple[str, ...] = field(default=(), metadata={"help": "Arguments put before the verb, at every call."})
    wants_sandbox_container: bool = field(
        default=False, metadata={"help": "Whether a pod needs a sandbox container first (virtual machines)."}
    )
    allowed_annotations: tuple[str, ...] = field(
        default=(), metadata={"help": "Prefixes of reserved annotations that may reach this runtime all the same."}
    )


@dataclass(frozen=True)
class Settings:
    """`[runtime]`"""

    default: str = field(
        default="", metadata={"help": "The handler that an empty name means; empty: crun if it works here, else runc."}
    )
    handlers: dict[str, HandlerSettings] = field(
        default_factory=dict, metadata={"help": "RuntimeClass handlers by name; crun and runc need no entry."}
    )
    timeout_s: float = field(
        default=60.0, metadata={"help": "After how many seconds a call of a runtime is taken to hang, and is killed."}
    )


class Handlers:
    """All handlers of this node. `runtime(name)` gives the driver; the empty name is the default handler."""

    def __init__(self, settings: Settings, state_root: Path) -> None:
        self._settings, self._state_root = settings, state_root
        self._hybrid = hybrid.is_hybrid()
        self._runtimes: dict[str, CliRuntime] = {}
        self._known: dict[str, HandlerSettings] = {}
        for name in _PREFERRED:
            if name not in settings.handlers and find_program(name) is not None:
                self._known[name] = HandlerSettings(path=name)
        self._known.update(settings.handlers)
        self._default, self._reason = self._choose_default()

    def _choose_default(self) -> tuple[str, str]:
        wanted = self._settings.default
        if wanted:
            if wanted not in self._known:
                raise InvalidArgument(
                    f"handler {wanted!r} is neither configured nor installed; there are: {self._names()}",
                    field="runtime.default",
                )
            return wanted, f"{wanted}, as configured"
        for name in _PREFERRED:
            if name in self._known:
                return name, f"{name}, because {_REASONS[name]}" + self._how(name)
        if self._known:
            name = next(iter(self._known))
            return name, f"{name}, the only handler configured"
        raise FailedPrecondition("no OCI runtime is installed: install crun or runc (Debian: apt-get install crun)")

    def _how(self, name: str) -> str:
        wrapped = name == "crun" and self._hybrid
        return " (created in a mount namespace without cgroup v2's hybrid mount)" if wrapped else ""

    def _names(self) -> str:
        return ", ".join(sorted(self._known)) or "none"

    def explain(self) -> str:
        """Which runtime is the default, and why; for people."""
        return self._reason

    def settings(self, handler: str) -> HandlerSettings:
        """The settings of a handler. Raises InvalidArgument for one that is not there."""
        try:
            return self._known[handler or self._default]
        except KeyError:
            raise InvalidArgument(
                f"{handler!r} is not configured; there are: {self._names()}", field="runtime_handler"
            ) from None

    def runtime(self, handler: str) -> CliRuntime:
        """The driver of a handler. Raises InvalidArgument (unknown handler), FailedPrecondition (program missing)."""
        settings, name = self.settings(handler), handler or self._default
        if name not in self._runtimes:
            program = find_program(settings.path)
            if program is None:
                raise FailedPrecondition(f"runtime handler {name!r}: program {settings.path!r} is not installed")
            root = settings.root or self._state_root / name
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._runtimes[name] = self._make(program, root, settings)
        return self._runtimes[name]

    def _make(self, program: Path, root: Path, settings: HandlerSettings) -> CliRuntime:
        create = None
        if self._hybrid and program.name == "crun":
            global_args = ("--root", str(root), *settings.options)
            create = hybrid.without_unified(program, global_args, os.uname().machine)
        return CliRuntime(
            program, root, options=settings.options, timeout_s=self._settings.timeout_s, create_command=create
        )

    async def features(self) -> dict[str, Features]:
        """By handler; the empty name is the default's."""
        found: dict[str, Features] = {}
        for name in ("", *self._known):
            try:
                found[name] = await self.runtime(name).features()
            except PodwrightError as error:
                log.warning("a runtime handler can't be used", handler=name, error=str(error))
        return found
