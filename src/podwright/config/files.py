"""From files to a `Config`: defaults < config.toml < conf.d/*.toml < PODWRIGHT_SECTION_KEY < command line.

Everything is strict: an unknown key or a wrong type is an error that names file, line, key and what is allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podwright.base.errors import InvalidArgument
from podwright.config.ranges import refusal
from podwright.config.schema import Config, describe_kind, settings

DEFAULT_PATH = Path("/etc/podwright/config.toml")
ENVIRONMENT_PREFIX = "PODWRIGHT_"


class ConfigError(InvalidArgument):
    """A configuration that can't be used; the message has file, line and key."""


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where a value comes from, so that an error can point at it."""

    name: str
    text: str = ""

    def at(self, key: str) -> str:
        """`file:line: key`, the line of the deepest part of `key` that the text shows."""
        line = _line_of(self.text, key.split("."))
        return f"{self.name}:{line}: {key}" if line else f"{self.name}: {key}"


def load(path: Path | None = None, overrides: Mapping[str, object] | None = None) -> Config:
    """Read the configuration. `path=None`: the default file, which may be absent; a path given must exist.

    `overrides` maps dotted keys ("server.socket") to values and wins over all. Raises ConfigError.
    """
    values: dict[str, Any] = {}
    sources: dict[str, _Source] = {}
    for file in _files(path):
        text = _read(file)
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file}: not valid TOML: {error}") from error
        _merge(values, document, sources, _Source(str(file), text), "")
    for key, value in (overrides or {}).items():
        _set(values, sources, key, value, _Source("command line"))
    _merge_environment(values, sources, skip=set(overrides or {}))
    return _build(values, sources)


def _files(path: Path | None) -> list[Path]:
    main = path or DEFAULT_PATH
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    files = [main] if main.is_file() else []
    return files + sorted((main.parent / "conf.d").glob("*.toml"))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from error


def _merge(into: dict[str, Any], new: Mapping[str, Any], sources: dict[str, _Source], source: _Source, at: str) -> None:
    """Tables merge key by key; anything else replaces."""
    for key, value in new.items():
        dotted = f"{at}{key}"
        sources[dotted] = source
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value, sources, source, dotted + ".")
        elif isinstance(value, dict):
            into[key] = {}
            _merge(into[key], value, sources, source, dotted + ".")
        else:
            into[key] = value


def _set(values: dict[str, Any], sources: dict[str, _Source], key: str, value: object, source: _Source) -> None:
    section, _, name = key.rpartition(".")
    table = values.setdefault(section, {}) if section else values
    table[name] = value
    sources[key] = source


def _merge_environment(values: dict[str, Any], sources: dict[str, _Source], skip: set[str]) -> None:
    for setting in settings():
        variable = f"{ENVIRONMENT_PREFIX}{setting.key.replace('.', '_')}".upper()
        if (text := os.environ.get(variable)) is not None and setting.key not in skip:
            value = _from_text(setting.kind, text, variable)
            _set(values, sources, setting.key, value, _Source(f"environment {variable}"))


def _from_text(kind: Any, text: str, variable: str) -> object:
    if typing.get_origin(kind) is tuple:
        return [part for part in text.split(",") if part]
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"environment {variable}: must be true or false, not {text!r}")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ConfigError(f"environment {variable}: must be {describe_kind(kind)}, not {text!r}") from None
    return text


def _build(values: dict[str, Any], sources: dict[str, _Source]) -> Config:
    config = _dataclass(Config, values, "", sources)
    assert isinstance(config, Config)
    return config


def _dataclass(kind: type[Any], values: Mapping[str, Any], at: str, sources: dict[str, _Source]) -> Any:
    hints = typing.get_type_hints(kind)
    metadata = {entry.name: entry.metadata for entry in dataclasses.fields(kind)}
    names = list(metadata)
    given: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{at}{key}"
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"{_place(sources, dotted)}: unknown key; {hint}allowed: {', '.join(names)}")
        given[key] = _value(hints[key], value, dotted, sources)
        if why := refusal(metadata[key], given[key]):
            raise ConfigError(f"{_place(sources, dotted)}: {why}")
    try:
        return kind(**given)
    except InvalidArgument as error:
        if error.field in names:
            raise ConfigError(f"{_place(sources, at + error.field)}{str(error).removeprefix(error.field)}") from error
        raise ConfigError(f"{_place(sources, at.rstrip('.'))}: {error}") from error


def _value(kind: Any, value: Any, at: str, sources: dict[str, _Source]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        chosen = [k for k in arguments if k is not type(None)]
        return _value(chosen[0], value, at, sources)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        return _dataclass(kind, value, at + ".", sources)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(arguments[0], item, at, sources) for item in value)
    if origin in (dict, Mapping, typing.get_origin(Mapping[str, str])) and isinstance(value, dict):
        return {key: _value(arguments[1], item, f"{at}.{key}", sources) for key, item in value.items()}
    if origin is typing.Literal and value in arguments:
        return value
    if kind is Path and isinstance(value, str | Path):
        if not Path(value).is_absolute():
            raise ConfigError(f"{_place(sources, at)}: must be an absolute path, not {str(value)!r}")
        return Path(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ConfigError(f"{_place(sources, at)}: must be {describe_kind(kind)}, not {value!r}")


def _place(sources: dict[str, _Source], key: str) -> str:
    parts = key.split(".")
    for count in range(len(parts), 0, -1):
        if (source := sources.get(".".join(parts[:count]))) is not None:
            return source.at(key)
    return key or "configuration"


def _line_of(text: str, parts: list[str]) -> int:
    """The line of a dotted key in TOML text: under its [table] header, or 0. tomllib keeps no positions."""
    header: list[str] = []
    best = 0
    for number, line in enumerate(text.splitlines(), 1):
        if table := re.match(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$", line):
            header = [part.strip().strip("\"'") for part in table[1].split(".")]
            if header == parts[: len(header)]:
                best = max(best, number) if header == parts else best or number
        elif pair := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            key = [*header, *(part.strip("\"'") for part in pair[1].split("."))]
            if key == parts[: len(key)]:
                return number
    return best
