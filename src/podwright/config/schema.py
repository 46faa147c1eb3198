"""The whole configuration: one section a room, each the room's own frozen dataclass.

A field's annotation is its parser, its default the default, and its metadata `help` the documentation:
`declare` is the only place a setting is spelled. `default_toml` and docs/configuration.md are made from the same.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from podwright.cgroup.base import Settings as CgroupSettings
from podwright.config.ranges import bounds
from podwright.container.checkpoint.settings import Settings as CheckpointSettings
from podwright.container.settings import Settings as ContainerSettings
from podwright.cri.settings import Settings as ServerSettings
from podwright.device.settings import Settings as DeviceSettings
from podwright.docker.settings import Settings as DockerSettings
from podwright.image.settings import Settings as ImageSettings
from podwright.monitor.base import Settings as MonitorSettings
from podwright.network.base import Settings as NetworkSettings
from podwright.nri.settings import Settings as NriSettings
from podwright.registry.base import Settings as RegistrySettings
from podwright.runtime.handlers import Settings as RuntimeSettings
from podwright.sandbox.settings import Settings as SandboxSettings
from podwright.state.settings import Settings as StateSettings
from podwright.streaming.settings import Settings as StreamingSettings
from podwright.telemetry.settings import Settings as TelemetrySettings


@dataclass(frozen=True)
class Config:
    """All settings: which backend, then by section."""

    backend: Literal["native", "docker"] = field(
        default="native",
        metadata={
            "help": "Who runs containers: OCI runtimes that Podwright calls itself, or a Docker Engine (docker)."
        },
    )
    state: StateSettings = field(default_factory=StateSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    streaming: StreamingSettings = field(default_factory=StreamingSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    container: ContainerSettings = field(default_factory=ContainerSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    docker: DockerSettings = field(default_factory=DockerSettings)
    device: DeviceSettings = field(default_factory=DeviceSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    cgroup: CgroupSettings = field(default_factory=CgroupSettings)
    nri: NriSettings = field(default_factory=NriSettings)
    image: ImageSettings = field(default_factory=ImageSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)


@dataclass(frozen=True)
class Setting:
    """One setting, for documentation: dotted key (a plain one outside of sections), annotation, default, help text,
    and what a number may be."""

    key: str
    kind: Any
    default: Any
    help: str
    bounds: str


def settings() -> Iterator[Setting]:
    """Every setting, in order of declaration."""
    kinds, outside = typing.get_type_hints(Config), Config()
    for entry in dataclasses.fields(Config):
        if entry.name not in sections():
            words = str(entry.metadata.get("help", ""))
            yield Setting(entry.name, kinds[entry.name], getattr(outside, entry.name), words, bounds(entry.metadata))
    for section in sections():
        owner = section_type(section)
        hints = typing.get_type_hints(owner)
        defaults = owner()
        for entry in dataclasses.fields(owner):
            yield Setting(
                f"{section}.{entry.name}", hints[entry.name], getattr(defaults, entry.name),
                str(entry.metadata.get("help", "")), bounds(entry.metadata),
            )  # fmt: skip


def sections() -> list[str]:
    """The names of all sections; what else `Config` has stands before them."""
    return [name for name, kind in typing.get_type_hints(Config).items() if dataclasses.is_dataclass(kind)]


def section_type(name: str) -> type[Any]:
    """The settings class of a section."""
    kind: type[Any] = typing.get_type_hints(Config)[name]
    return kind


def describe_kind(kind: Any) -> str:
    """What an annotation allows, in words for error messages and documentation."""
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(kind))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_kind(k) for k in typing.get_args(kind) if k is not type(None))
    if origin is tuple:
        return f"a list of {describe_kind(typing.get_args(kind)[0])}s"
    if origin in (dict, Mapping) or kind is dict:
        return "a table"
    if dataclasses.is_dataclass(kind):
        return "a table"
    words = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    return words.get(kind, str(kind)).removeprefix("a ") if kind not in words else words[kind]


def default_toml() -> str:
    """A commented configuration file that holds every default."""
    lines = ["# Podwright's configuration; every setting with its default. Drop-ins: conf.d/*.toml beside this file."]
    section = ""
    for setting in settings():
        name, _, key = setting.key.rpartition(".")
        if name != section:
            lines += ["", f"[{name}]"]
            section = name
        if setting.help:
            lines += [f"# {line}" for line in setting.help.splitlines()]
        if setting.bounds and not setting.bounds.startswith("more than 0"):
            lines.append(f"# {setting.bounds[0].upper()}{setting.bounds[1:]}.")
        text = toml_value(setting.default)
        lines.append(f"# {key} =" if text is None else f"{key} = {text}")
    return "\n".join(lines) + "\n"


def to_toml(config: Config) -> str:
    """A configuration as TOML: what `podwright config show` prints."""
    plain = [entry.name for entry in dataclasses.fields(Config) if entry.name not in sections()]
    lines = [f"{name} = {toml_value(getattr(config, name))}" for name in plain] + [""]
    for section in sections():
        lines += _table(section, getattr(config, section)) + [""]
    return "\n".join(lines)


def _table(name: str, settings_object: Any) -> list[str]:
    lines, below = [f"[{name}]"], []
    for entry in dataclasses.fields(settings_object):
        value = getattr(settings_object, entry.name)
        if isinstance(value, Mapping) and value and all(dataclasses.is_dataclass(v) for v in value.values()):
            for key, inner in value.items():
                below += _table(f"{name}.{entry.name}.{key}", inner)
        elif (text := toml_value(value)) is not None:
            lines.append(f"{entry.name} = {text}")
    return lines + below


def toml_value(value: Any) -> str | None:
    """A value in TOML syntax; None for 'not set', which TOML can't say."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str | Path):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_value(str(k))} = {toml_value(v)}" for k, v in value.items()) + " }"
    return "[" + ", ".join(toml_value(item) or '""' for item in value) + "]"
