"""The process of a container: argv, environment, working directory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import ImageFacts
from podwright.criapi import api_pb2 as pb

_OPEN_FILES = ("/proc/", "/dev/fd/")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def arguments(config: pb.ContainerConfig, image: ImageFacts) -> list[str]:
    """argv: the request's command replaces the image's entrypoint and hides its command; args replace its command."""
    argv = [*config.command, *config.args] if config.command else [*image.entrypoint, *(config.args or image.command)]
    if not argv:
        raise InvalidArgument("there is nothing to run: neither the request nor the image names one", field="command")
    if not argv[0]:
        raise InvalidArgument("the program to run has an empty name", field="command")
    if any("\0" in word for word in argv):
        raise InvalidArgument("an argument holds a NUL character", field="command")
    return argv


def environment(config: pb.ContainerConfig, image: ImageFacts, *, hostname: str, home: str) -> list[str]:
    """The image's variables, the request's over them, and what every process may count on: PATH, HOME, TERM.

    Values are bytes in the request; config.json is UTF-8, so other bytes become U+FFFD, as with other runtimes.
    """
    variables: dict[str, str] = {}
    for entry in image.environment:
        key, separator, value = entry.partition("=")
        if "\0" in entry:
            raise InvalidArgument(f"the image's variable {key!r} holds a NUL character")
        if key and separator:
            variables[key] = value
    for key, value in _given(config.envs):
        variables[key] = value
    variables.setdefault("PATH", DEFAULT_PATH)
    if hostname:
        variables.setdefault("HOSTNAME", hostname)
    if config.tty:
        variables.setdefault("TERM", "xterm")
    if not variables.get("HOME"):
        variables["HOME"] = home or "/"
    return [f"{key}={value}" for key, value in variables.items()]


def _given(envs: Iterable[pb.KeyValue]) -> Iterable[tuple[str, str]]:
    for variable in envs:
        value = variable.value.decode("utf-8", "replace")
        if not variable.key or "=" in variable.key or "\0" in variable.key:
            raise InvalidArgument(f"{variable.key!r} can't name an environment variable", field="envs")
        if "\0" in value:
            raise InvalidArgument(f"the value of {variable.key} holds a NUL character", field="envs")
        yield variable.key, value


def working_directory(config: pb.ContainerConfig, image: ImageFacts) -> str:
    """Absolute path inside the rootfs, where the caller makes it if it is missing.

    A path through /proc/self/fd would name what the runtime has open (CVE-2024-21626), so none is taken; the caller
    asks `check_working_directory` again for what it leads to.
    """
    asked = config.working_dir or image.working_dir or "/"
    path = posixpath.normpath("/" + asked.lstrip("/"))
    check_working_directory(path, asked)
    return path


def check_working_directory(path: str, asked: str) -> None:
    """Refuse a `path` that leads through the runtime's open files, or with the image's symlinks resolved does so.

    `asked` is how the request or the image spells it. Raises InvalidArgument.
    """
    if "\0" in path or path.startswith(_OPEN_FILES):
        raise InvalidArgument(f"{asked!r} can't be a working directory", field="working_dir")
