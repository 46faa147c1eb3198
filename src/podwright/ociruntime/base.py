"""What a program brings that is an OCI runtime: `Program`. The front (`front.main`) does the rest.

The front parses the command line, validates ids, keeps records and locks, reads bundles, writes pid files, runs hooks,
tells states and reports errors; it calls a program with what is known to be right: a container that exists, in a state
that allows the verb. All is synchronous, in a process of one thread that lives for one verb; what has to live on is
started by the program (`linux/fork`), as a child of this process, so that the caller's subreaper gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from podwright.oci.events import Stats
from podwright.oci.runtime_spec import LinuxResources, Process
from podwright.ociruntime.bundle import Bundle
from podwright.ociruntime.record import Container, Containers
from podwright.ociruntime.report import Report


class Call(NamedTuple):
    """What the global options say. `systemd_cgroup`: cgroupsPath is SLICE:PREFIX:NAME; `config`: another file with the
    program's settings than the usual one, for those that have any."""

    root: Path
    report: Report
    systemd_cgroup: bool
    debug: bool
    config: Path | None = None

    @property
    def containers(self) -> Containers:
        return Containers(self.root)


class CreateRequest(NamedTuple):
    """How `create` was called. Standard streams are the caller's, 0 to 2, unless there is a `console_socket`; the
    `preserve_fds` descriptors after them go to the container as well."""

    bundle: Bundle
    console_socket: str = ""
    preserve_fds: int = 0
    no_pivot: bool = False
    no_new_keyring: bool = False


class ExecRequest(NamedTuple):
    """How `exec` was called; streams as in `CreateRequest`."""

    process: Process
    console_socket: str = ""
    preserve_fds: int = 0
    detach: bool = False


class ProcessRow(NamedTuple):
    """A process of a container. `pid` is the host's where the process is one of the host's."""

    pid: int
    parent: int
    uid: int
    command: str


class Program(Protocol):
    """An OCI runtime, but for the command line.

        create ──► created ──start──► running ──(process ends)──► stopped ──delete──► (unknown)
                                        │ ▲
                                   pause│ │resume
                                        ▼ │
                                       paused

    Raises PodwrightErrors with words for people.
    """

    def features(self) -> Mapping[str, Any]:
        """A features document: features.md of the OCI runtime specification."""
        ...

    def check(self, request: CreateRequest) -> None:
        """Raises for what this runtime can't do, by name, before anything is made."""
        ...

    def create(self, container: Container, request: CreateRequest) -> int:
        """Make everything up to the container's process, and have that wait for `start`. Its pid.

        The pid is that of a child whose end is the container's, with its exit code (128+n for signal n). Facts that
        `delete` needs are saved in `container.details` before what they are about is made; when this raises, or is
        killed, `delete` is called.
        """
        ...

    def start(self, container: Container) -> None:
        """Let it execute the command. Raises when that can't be executed. A start that was killed may have done so."""
        ...

    def paused(self, container: Container) -> bool:
        """Whether a container that runs is frozen."""
        ...

    def kill(self, container: Container, signal: int, *, all_processes: bool) -> None:
        """Signal the command, or all processes. An end in this very moment is success."""
        ...

    def delete(self, container: Container) -> None:
        """Kill what is left of it, wait for that, and remove all that `create` has made, however far it came. What is
        gone already is success."""
        ...

    def exec(self, container: Container, request: ExecRequest) -> int:
        """Start a process in the container that runs. Its pid, when it has executed its command: as in `create`, one
        that this process can wait for."""
        ...

    def pause(self, container: Container) -> None:
        """Freeze all processes."""
        ...

    def resume(self, container: Container) -> None:
        """Thaw all processes."""
        ...

    def update(self, container: Container, resources: LinuxResources) -> None:
        """Change limits; members that are unset stay as they are."""
        ...

    def processes(self, container: Container) -> Sequence[ProcessRow]:
        """All processes of the container."""
        ...

    def stats(self, container: Container) -> Stats:
        """What it has used."""
        ...

    def oom_kills(self, container: Container) -> int:
        """How many of its processes were killed for want of memory."""
        ...


class Identity(NamedTuple):
    """Who the program is. `root` is where it keeps its state unless told otherwise. `make` gives the `Program` for a
    call; `verbs` are further ones of its own, called with the words behind them, that return an exit code;
    `has_settings`: it takes --config."""

    name: str
    version: str
    root: Path
    make: Callable[[Call], Program]
    verbs: Mapping[str, Callable[[Call, Sequence[str]], int]] = {}
    has_settings: bool = False
