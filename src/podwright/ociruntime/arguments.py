"""From argv to a verb with its options. runc(8) and its pages; options stand before the first plain word, as in runc.

argparse would take longer to import than all of this takes to run, and knows options behind words as well, which
runc's don't: `exec ID ls -l` passes -l on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from podwright.base.errors import InvalidArgument


class Syntax(NamedTuple):
    """What a verb takes. Options are words `name` or `name|shorter`; `least` and `most` count its plain words."""

    values: str = ""
    switches: str = ""
    words: str = "ID"
    least: int = 1
    most: int = 1


GLOBAL = Syntax(
    values="root log log-format rootless criu config",
    switches="debug systemd-cgroup version|v help|h",
    most=1000,
    least=0,
)
_PROCESS = (
    "console-socket process|p pid-file cwd env|e user|u additional-gids|g process-label apparmor cap|c preserve-fds"
)
_LIMITS = "memory memory-reservation memory-swap cpu-period cpu-quota cpu-share cpuset-cpus cpuset-mems pids-limit"
SYNTAX = {
    "create": Syntax("bundle|b console-socket pid-file preserve-fds", "no-pivot no-new-keyring"),
    "delete": Syntax(switches="force|f"),
    "events": Syntax("interval", "stats"),
    "exec": Syntax(_PROCESS, "detach|d tty|t no-new-privs ignore-paused", "ID [COMMAND [ARGUMENT…]]", most=100_000),
    "features": Syntax(words="", least=0, most=0),
    "kill": Syntax(switches="all|a", words="ID [SIGNAL]", most=2),
    "list": Syntax("format|f", "quiet|q", words="", least=0, most=0),
    "pause": Syntax(),
    "ps": Syntax("format|f", words="ID [PS OPTION…]", most=1000),
    "resume": Syntax(),
    "run": Syntax(
        "bundle|b console-socket pid-file preserve-fds", "no-pivot no-new-keyring no-subreaper detach|d keep"
    ),
    "start": Syntax(),
    "state": Syntax(),
    "update": Syntax(f"resources|r {_LIMITS}"),
}


class Arguments:
    """Options by their full names, and the words behind them."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}
        self.words: list[str] = []

    def add(self, name: str, value: str) -> None:
        self._values.setdefault(name, []).append(value)

    def value(self, name: str, default: str = "") -> str:
        """The last one given."""
        return self._values.get(name, [default])[-1]

    def values(self, name: str) -> list[str]:
        """All that were given, in order."""
        return self._values.get(name, [])

    def number(self, name: str) -> int | None:
        """None when it was not given. Raises InvalidArgument."""
        if name not in self._values:
            return None
        try:
            return int(self.value(name))
        except ValueError:
            raise InvalidArgument(f"{self.value(name)!r} is no number", field=f"--{name}") from None

    def on(self, name: str) -> bool:
        """Whether a switch was given."""
        return self.value(name, "false") == "true"


def parse(argv: Sequence[str], syntax: Syntax, *, verb: str = "") -> Arguments:
    """Raises InvalidArgument for an option that is not known and for a wrong number of words."""
    names, switches = _names(syntax.values), _names(syntax.switches)
    found, left = Arguments(), list(argv)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        if name in switches:
            found.add(switches[name], _boolean(name, value) if equals else "true")
        elif name in names:
            if not equals:
                if not left:
                    raise InvalidArgument(f"--{name} needs a value")
                value = left.pop(0)
            found.add(names[name], value)
        else:
            raise InvalidArgument(f"{verb or 'the program'} has no option {word!r}")
    found.words = left
    if not syntax.least <= len(left) <= syntax.most:
        raise InvalidArgument(f"{verb} takes {syntax.words or 'no further words'}, not {left}")
    return found


def _names(words: str) -> dict[str, str]:
    """Full names by every way to write them."""
    return {way: word.partition("|")[0] for word in words.split() for way in word.split("|")}


def _boolean(name: str, value: str) -> str:
    if value.lower() not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"{value!r} is neither true nor false", field=f"--{name}")
    return "true" if value.lower() in ("true", "1") else "false"
