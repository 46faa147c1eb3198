"""Network configuration: which list of plugins the files in the configuration directory ask for.

The first valid file by name wins. `ConfDir.current` looks at the files' times at each use, so that a changed
configuration counts from the next pod on, without a watcher. It never runs a plugin. SPEC.md, section 1.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.base.log import get_logger

log = get_logger(__name__)

SUFFIXES = (".conflist", ".conf", ".json")
NEWEST_VERSION = (1, 1, 0)
FILE_LIMIT_BYTES = 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\Z")

Signature = tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Conflist:
    """A network: its plugins' configurations in order. `file` '': the built-in network."""

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]
    file: str = ""
    disable_check: bool = False
    disable_gc: bool = False


class _File(
    msgspec.Struct,
    rename={
        "version": "cniVersion", "versions": "cniVersions", "disable_check": "disableCheck", "disable_gc": "disableGC",
        "inline_only": "loadOnlyInlinedPlugins",
    },
):  # fmt: skip
    """The keys of a list; a single plugin's configuration has `type` instead of `plugins`."""

    name: str
    version: str = ""
    versions: tuple[str, ...] = ()
    type: str = ""
    plugins: tuple[dict[str, Any], ...] | None = None
    disable_check: bool = False
    disable_gc: bool = False
    inline_only: bool = False


def version_of(text: str) -> tuple[int, ...]:
    """'1.0.0' → (1, 0, 0); a missing version is 0.1.0, as in the first edition of the specification."""
    return tuple(int(part) for part in (text or "0.1.0").split("."))


def parse(data: bytes, file: Path) -> Conflist:
    """A configuration file's content. Raises InvalidArgument that says what is wrong, without the file's name."""
    try:
        # strict=False: "true" in quotes is what the specification's text allows for disableCheck
        given = msgspec.json.decode(data, type=_File, strict=False)
        if given.plugins is None and given.type:
            plugins: list[dict[str, Any]] = [msgspec.json.decode(data, type=dict[str, Any])]
        else:
            plugins = list(given.plugins or ())
    except msgspec.ValidationError as error:
        raise InvalidArgument(str(error)) from error
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"it is not JSON: {error}") from error
    if not _NAME.match(given.name):
        raise InvalidArgument(f"network name {given.name!r}: letters, digits, '_', '.' and '-' only")
    if file.suffix == ".conflist" and not given.inline_only:
        plugins += _separate_plugins(file.parent / given.name)
    if not plugins:
        raise InvalidArgument("it names no plugins: neither `plugins` nor `type` is given")
    for number, plugin in enumerate(plugins):
        _check_plugin(plugin, number)
    version = _choose_version(given.version, given.versions)
    return Conflist(given.name, version, tuple(plugins), os.fspath(file), given.disable_check, given.disable_gc)


def _separate_plugins(directory: Path) -> list[dict[str, Any]]:
    """Plugins in files of their own, DIR/NETWORK/*.conf, that come after those in the list. SPEC.md 1.1, section 1."""
    files = sorted(directory.glob("*.conf")) if directory.is_dir() else []
    return [msgspec.json.decode(_read(file), type=dict[str, Any]) for file in files]


def _check_plugin(plugin: dict[str, Any], number: int) -> None:
    kind = plugin.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidArgument(f"plugins[{number}]: `type` is missing")
    ipam = plugin.get("ipam")
    delegate = ipam.get("type", "") if isinstance(ipam, dict) else ""
    for word in (kind, delegate):
        if not isinstance(word, str) or "/" in word or word in (".", ".."):
            raise InvalidArgument(f"plugins[{number}]: {word!r} must be the name of a program, without a path")


def _choose_version(single: str, several: tuple[str, ...]) -> str:
    """The newest of the versions offered that we speak too. SPEC.md, "Version considerations"."""
    offered = [text for text in (single, *several) if text]
    for text in offered:
        if not _VERSION.match(text):
            raise InvalidArgument(f"cniVersion {text!r} is not of the form 1.0.0")
    known = [text for text in offered if version_of(text) <= NEWEST_VERSION]
    if offered and not known:
        newest = ".".join(map(str, NEWEST_VERSION))
        raise InvalidArgument(f"cniVersion {' or '.join(offered)} is newer than {newest}, the newest known here")
    return max(known, key=version_of, default="0.1.0")


def _read(path: Path) -> bytes:
    """Whoever may write these files says which programs run as root. Raises InvalidArgument."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise InvalidArgument("it is not a regular file")
        _check_owner(path, info)
        if info.st_size > FILE_LIMIT_BYTES:
            raise InvalidArgument(f"it has more than {FILE_LIMIT_BYTES} bytes")
        return os.pread(fd, FILE_LIMIT_BYTES, 0)
    finally:
        os.close(fd)


def _check_owner(path: Path, info: os.stat_result) -> None:
    if info.st_uid not in (0, os.geteuid()):
        raise InvalidArgument(f"{path} belongs to uid {info.st_uid}, not to root: chown it, or remove it")
    by_group = info.st_mode & stat.S_IWGRP and info.st_gid not in (0, os.getegid())
    if by_group or info.st_mode & stat.S_IWOTH:
        raise InvalidArgument(f"users other than root may write {path}: chmod go-w it")


class ConfDir:
    """The configuration directory, read again when a file in it changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: Signature | None = None
        self._loaded: Conflist | None = None
        self.problems: tuple[str, ...] = ()
        """What is wrong with the files that come before the one in use, a sentence each."""

    @property
    def empty(self) -> bool:
        """Whether there is no configuration file at all, good or bad. As of the last `current`."""
        return not self._seen

    def current(self) -> Conflist | None:
        """The first valid configuration; None if there is none. About 0.05 ms when nothing changed."""
        signature = self._signature()
        if signature != self._seen:
            before, self._seen = self._loaded, signature
            self._loaded = self._load()
            if self._loaded != before:
                log.info(
                    "network configuration changed" if before else "network configuration found",
                    network=self._loaded.name if self._loaded else "none",
                    file=self._loaded.file if self._loaded else None,
                )
        return self._loaded

    def _files(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._directory) as entries:
                files = [entry for entry in entries if entry.name.endswith(SUFFIXES)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(files, key=lambda entry: entry.name)

    def _signature(self) -> Signature:
        """What changes when the configuration does, including that of plugins in files of their own."""
        files = self._files()
        signature = [_identity(entry.path) for entry in files]
        if files:
            signature.append(_identity(os.fspath(self._directory))[2:])
            if self._loaded:
                separate = self._directory / self._loaded.name
                signature += [_identity(os.fspath(path)) for path in sorted(separate.glob("*.conf"))]
        return tuple(signature)

    def _load(self) -> Conflist | None:
        problems: list[str] = []
        found: Conflist | None = None
        for entry in self._files():
            try:
                _check_owner(self._directory, self._directory.stat())
                found = parse(_read(Path(entry.path)), Path(entry.path))
                break
            except (InvalidArgument, OSError, msgspec.MsgspecError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                problems.append(f"{entry.path}: {reason}")
        for problem in problems:
            if problem not in self.problems:
                log.warning("network configuration skipped", problem=problem)
        self.problems = tuple(problems)
        return found


def _identity(path: str) -> tuple[object, ...]:
    try:
        info = os.stat(path)
    except OSError:
        return (path,)
    return (path, info.st_size, info.st_mtime_ns, info.st_ino, info.st_mode, info.st_uid, info.st_gid)
