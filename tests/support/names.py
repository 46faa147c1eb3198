"""Names that no other test run on this machine uses: links, cgroups, networks, subnets, temporary directories.

Everything a test makes outside its own process carries `TOKEN`, so that the leak check can tell what this run left
from what a neighbour is doing, and so that a person can find and remove the remains of a killed run.
"""

from __future__ import annotations

import itertools
import random
import secrets
import socket
import tempfile
from pathlib import Path

TOKEN = secrets.token_hex(3)[:5]
CGROUP_PREFIX = f"podwright-test-{TOKEN}"
LINK_PREFIX = f"pw{TOKEN}"
# Short: a unix socket's path below it has to fit into 108 bytes, unix(7).
TEMPORARY = Path(tempfile.gettempdir(), f"pw-{TOKEN}")

# What else this run's daemons call things on the host, by names that are made from their directories.
MADE: set[str] = set()

_numbers = itertools.count(1)


def unique(word: str = "x") -> str:
    """A word that is used once in this run and in no other: `x-3f9a1-7`."""
    return f"{word}-{TOKEN}-{next(_numbers)}"


def link(word: str = "br") -> str:
    """A network link's name; the kernel allows 15 characters (IFNAMSIZ)."""
    name = f"{LINK_PREFIX}{word}{next(_numbers)}"
    assert len(name) <= 15, f"{name}: shorten {word!r}"
    return name


def cgroup(word: str = "") -> str:
    """A cgroup parent below the root of every hierarchy, e.g. for a daemon's default parent."""
    return f"/{CGROUP_PREFIX}-{word}{next(_numbers)}"


def network() -> str:
    """A CNI network's name; portmap puts it into its rules' comments."""
    return unique("podwright-test")


def subnet() -> str:
    """An IPv4 /24 that nobody is likely to use at the same time."""
    return f"10.{random.randint(100, 250)}.{random.randint(0, 255)}.0/24"


def free_port(host: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago. Where the program under test can listen on port 0, let it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
