"""The CDI devices of this machine: which specifications there are now, and what a container gets of a device.

Directories are looked at whenever devices are asked for, and files read again only when they changed; a machine
without CDI pays nothing. Whoever writes there commands the runtime as root (hooks, any mount), so that files which
others than root may write are not believed.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podwright.base.errors import InvalidArgument, NotFound
from podwright.base.log import get_logger
from podwright.device.cdi_spec import CdiSpec, ContainerEdits, parse_device_name, parse_spec

log = get_logger(__name__)

ANNOTATION_PREFIX = "cdi.k8s.io/"
_FILE_LIMIT_BYTES = 10 * 1024 * 1024
_SHOWN_DEVICES = 20

_Identity = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Known:
    """What the directories hold. `devices`: the specification that each full name is taken from. `problems`: what is
    wrong, by path of file or directory, or by device."""

    devices: Mapping[str, CdiSpec] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class CdiDevices:
    """The devices below some directories, the later ones going first. May be called from any thread."""

    def __init__(self, directories: Sequence[Path] = ()) -> None:
        self._directories = tuple(directories)
        self._files: dict[Path, tuple[_Identity, CdiSpec | str]] = {}
        self._lock = threading.Lock()

    def known(self) -> Known:
        """What there is now."""
        with self._lock:
            return self._scan()

    def edits(self, names: Iterable[str]) -> list[ContainerEdits]:
        """What a container with these devices gets, in order; a specification's own edits once, before its devices'.

        Raises InvalidArgument for what is no full name, NotFound with what is known instead.
        """
        wanted = {name: parse_device_name(name) for name in names}
        known = self.known()
        if missing := [name for name in wanted if name not in known.devices]:
            raise NotFound(self._explain(missing, known))
        edits: list[ContainerEdits] = []
        begun = set[int]()
        for full_name, (_kind, name) in wanted.items():
            spec = known.devices[full_name]
            if id(spec) not in begun:
                begun.add(id(spec))
                edits.append(spec.container_edits)
            edits += [device.container_edits for device in spec.devices if device.name == name]
        return edits

    def _explain(self, missing: Sequence[str], known: Known) -> str:
        kinds = {name.partition("=")[0] for name in missing}
        there = sorted(name for name in known.devices if name.partition("=")[0] in kinds) or sorted(known.devices)
        listed = ", ".join(there[:_SHOWN_DEVICES]) + (", …" if len(there) > _SHOWN_DEVICES else "")
        where = ", ".join(map(str, self._directories)) or "no directory (device.cdi_spec_dirs is empty)"
        words = f"no CDI device {', '.join(missing)} in {where}; there are: {listed or 'none'}"
        return "; ".join([words, *(f"{place}: {problem}" for place, problem in known.problems.items())])

    def _scan(self) -> Known:
        devices: dict[str, CdiSpec] = {}
        problems: dict[str, str] = {}
        seen = set[Path]()
        for directory in self._directories:
            specs = dict(self._specs(directory, problems))
            seen.update(specs)
            here = [(f"{spec.kind}={device.name}", spec) for spec in specs.values() for device in spec.devices]
            devices.update(here)
            for name in [name for name, times in Counter(name for name, _ in here).items() if times > 1]:
                # Which file is read first is chance, so that neither is right.
                del devices[name]
                both = sorted(str(path) for path, spec in specs.items() if spec in [s for n, s in here if n == name])
                problems[name] = f"is in {' and in '.join(both)}"
        for path in set(self._files) - seen:
            if str(path) not in problems:
                del self._files[path]
        return Known(devices, problems)

    def _specs(self, directory: Path, problems: dict[str, str]) -> Iterator[tuple[Path, CdiSpec]]:
        """The specifications of one directory; a bad one is a problem, and the others count."""
        try:
            with os.scandir(directory) as entries:
                names = sorted(entry.name for entry in entries if entry.name.endswith((".json", ".yaml")))
            if names:
                _check_writers(directory.stat())
        except FileNotFoundError:
            return
        except (OSError, InvalidArgument) as error:
            problems[str(directory)] = str(error)
            return
        for name in names:
            path = directory / name
            spec = self._read(path)
            if isinstance(spec, CdiSpec):
                yield path, spec
            elif spec:
                problems[str(path)] = spec

    def _read(self, path: Path) -> CdiSpec | str:
        """A file's specification, or what is wrong with it; '' for what isn't a file (any more)."""
        try:
            info = path.stat()
        except FileNotFoundError:
            return ""
        if not stat.S_ISREG(info.st_mode):
            return ""
        identity = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        before = self._files.get(path)
        if before is None or before[0] != identity:
            self._files[path] = before = (identity, _parse(path, info))
            log.info("a CDI specification was read", path=str(path), problem=_problem(before[1]))
        return before[1]


def annotated_devices(annotations: Mapping[str, str]) -> list[str]:
    """Devices that a container's annotations name: the form that came before the CRI's own field."""
    return [
        name.strip()
        for key, value in sorted(annotations.items())
        if key.startswith(ANNOTATION_PREFIX)
        for name in value.split(",")
    ]


def _parse(path: Path, info: os.stat_result) -> CdiSpec | str:
    try:
        _check_writers(info)
        if info.st_size > _FILE_LIMIT_BYTES:
            raise InvalidArgument(f"has {info.st_size} bytes, more than {_FILE_LIMIT_BYTES}")
        return parse_spec(path.read_bytes())
    except (OSError, InvalidArgument) as error:
        return str(error)


def _problem(outcome: CdiSpec | str) -> str | None:
    return outcome if isinstance(outcome, str) else None


def _check_writers(info: os.stat_result) -> None:
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidArgument("is not believed: others than root may write it (chown root, chmod go-w)")
