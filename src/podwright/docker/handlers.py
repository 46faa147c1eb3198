"""RuntimeClass handlers: Docker's runtimes by their names. The empty name, and `docker`, mean Docker's default."""

from __future__ import annotations

from pathlib import Path, PurePath

from podwright.base.errors import InvalidArgument
from podwright.docker.answers import Info
from podwright.runtime.base import Features

_DEFAULT_WORDS = ("", "docker")
# Docker's own ways of naming what is there under a plain name as well.
_SHIMS = "io.containerd."
_OWN_KERNEL = ("runsc", "kata", "kata-runtime")


class EngineRuntimes:
    """Empty until `learn` has been called with what the engine says. Implements `sandbox.policy.Handlers`."""

    def __init__(self) -> None:
        self._info = Info()

    def learn(self, info: Info) -> None:
        self._info = info

    @property
    def default(self) -> str:
        return self._info.default_runtime

    def names(self) -> tuple[str, ...]:
        others = {name for name in self._info.runtimes if not name.startswith(_SHIMS)} - {self.default}
        return (self.default, *sorted(others))

    def isolates(self, handler: str) -> bool:
        name = self.default if handler in _DEFAULT_WORDS else handler
        runtime = self._info.runtimes.get(name)
        program = PurePath(runtime.path).name if runtime is not None and runtime.path else name
        return program in _OWN_KERNEL

    def cni_conf_dir(self, handler: str) -> Path | None:
        """All pods are in the same network."""

    def require(self, handler: str) -> str:
        """HostConfig.Runtime for a handler. Raises InvalidArgument for one that Docker doesn't have."""
        if handler in _DEFAULT_WORDS:
            return self.default
        if handler not in self._info.runtimes:
            raise InvalidArgument(
                f"{handler!r} is not a runtime of this Docker Engine; there are: {', '.join(self.names())} "
                "(dockerd --add-runtime)",
                field="runtime_handler",
            )
        return handler

    def features(self, *, recursive_read_only: bool) -> dict[str, Features]:
        """By handler; the empty name is the default's."""
        options = frozenset({"rro"}) if recursive_read_only else frozenset[str]()
        version = self._info.server_version
        return {name: Features(name or self.default, version, mount_options=options) for name in ("", *self.names())}
