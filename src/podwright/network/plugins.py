"""One run of one CNI plugin: finding it, its environment and input, and what its failure means.

`cni.py` calls it for every plugin of a list. The protocol is CNI's SPEC.md, section 2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, Unavailable
from podwright.linux import process

# SPEC.md, "Error": what the well-known codes mean for the person who reads the message
_CODES = {
    1: "the plugin does not speak this cniVersion",
    2: "the configuration has a field the plugin does not support",
    4: "the plugin was called with an invalid environment",
    5: "input/output failure",
    6: "the plugin could not decode its input",
    7: "invalid network configuration",
    11: "try again later",
    50: "the plugin is not available",
    51: "the plugin is not available, and running pods may have limited connectivity",
}
UNKNOWN_CONTAINER = 3

# What Debian's package containernetworking-plugins brings
_REFERENCE_PLUGINS = frozenset(
    {
        "bandwidth", "bridge", "dhcp", "dummy", "firewall", "host-device", "host-local", "ipvlan", "loopback",
        "macvlan", "portmap", "ptp", "sbr", "static", "tap", "tuning", "vlan", "vrf",
    }
)  # fmt: skip


class PluginFailed(Unavailable):
    """A plugin answered with an error. `plugin`, `verb`, `network`, and the plugin's `code` (0: it gave none)."""

    def __init__(self, message: str, *, plugin: str, verb: str, network: str, code: int = 0) -> None:
        super().__init__(message)
        self.plugin, self.verb, self.network, self.code = plugin, verb, network, code


class PluginMissing(FailedPrecondition):
    """A plugin that the configuration names is not installed. Never NotFound: that would be about the pod."""


class _PluginError(msgspec.Struct):
    code: int = 0
    msg: str = ""
    details: str = ""


class Plugins:
    """The plugins in `directories`. `timeout_s` limits one run."""

    def __init__(self, directories: Sequence[str], *, timeout_s: float) -> None:
        self._directories = tuple(directories)
        self._timeout_s = timeout_s

    def find(self, name: str, *, network: str = "", file: str = "") -> Path:
        """The plugin's program. `name` has no slash (conflist.py sees to it). Raises PluginMissing."""
        for directory in self._directories:
            path = Path(directory, name)
            if os.access(path, os.X_OK):
                return path
        mend = (
            "install the package containernetworking-plugins"
            if name in _REFERENCE_PLUGINS
            else "install the network add-on that brings it"
        )
        raise PluginMissing(
            f"CNI plugin {name!r} of network {network!r} ({file or 'built in'}) is not in "
            f"{', '.join(self._directories)}: {mend}, or set network.plugin_dirs"
        )

    async def run(
        self, verb: str, request: Mapping[str, Any], parameters: Mapping[str, str], *, file: str = ""
    ) -> dict[str, Any] | None:
        """Run the plugin that `request["type"]` names and give its result, None where it printed none.

        `request` is the plugin's input; `parameters` are the CNI_* variables that this verb takes besides
        CNI_COMMAND and CNI_PATH. Raises PluginMissing, PluginFailed, DeadlineExceeded.
        """
        name, network = str(request["type"]), str(request.get("name", ""))
        program = self.find(name, network=network, file=file)
        environment = {
            **process.clean_environment(),
            "CNI_COMMAND": verb,
            "CNI_PATH": ":".join(self._directories),
            **parameters,
        }
        where = f"CNI plugin {name!r} of network {network!r} ({file or 'built in'}): {verb}"
        try:
            done = await process.run(
                [program], stdin=msgspec.json.encode(request), env=environment, timeout_s=self._timeout_s, check=False
            )
        except process.ProgramMissing as error:
            raise PluginMissing(f"{where}: {error}") from error
        except DeadlineExceeded:
            raise DeadlineExceeded(f"{where} did not end within {self._timeout_s:g} s and was killed") from None
        if done.returncode != 0:
            words, code = _explain(done)
            raise PluginFailed(f"{where} failed: {words}", plugin=name, verb=verb, network=network, code=code)
        return _result(done.stdout, where, plugin=name, verb=verb, network=network)


def _explain(done: process.Completed) -> tuple[str, int]:
    """The plugin's error object if it wrote one, else whatever it said."""
    try:
        error = msgspec.json.decode(done.stdout, type=_PluginError, strict=False)
    except msgspec.MsgspecError:
        error = _PluginError()
    words = ": ".join(part for part in (error.msg, error.details) if part)
    if not words:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        words = f"{how}: {said[-1000:]}" if said else f"{how}, without a word"
    meaning = _CODES.get(error.code)
    return (f"{words} (code {error.code}: {meaning})" if meaning else words), error.code


def _result(stdout: bytes, where: str, *, plugin: str, verb: str, network: str) -> dict[str, Any] | None:
    if verb != "ADD" or not stdout.strip():
        return None
    try:
        return msgspec.json.decode(stdout, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        text = stdout[:200].decode(errors="replace")
        raise PluginFailed(
            f"{where} succeeded, but its result is not a JSON object ({error}): {text}",
            plugin=plugin, verb=verb, network=network,
        ) from error  # fmt: skip
