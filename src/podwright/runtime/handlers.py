"""From a RuntimeClass handler's name to a runtime with its settings; which runtime is the default, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from podwright.base.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import gather_all
from podwright.linux.process import find_program
from podwright.runtime import hybrid
from podwright.runtime.base import Features, Runtime, RuntimeCommand
from podwright.runtime.cli import CliRuntime
from podwright.runtime.gvisor import GvisorRuntime
from podwright.runtime.leftovers import end_leftovers
from podwright.runtime.own_programs import own_handlers, own_program
from podwright.runtime.shim_names import calls_oci_runtime, is_shim
from podwright.runtime.vm import VmRuntime

log = get_logger(__name__)

_PREFERRED = ("crun", "runc")
# What is a handler without any configuration, wherever its program is.
_WELL_KNOWN = {**{name: name for name in (*_PREFERRED, "runsc")}, "shim": "containerd-shim-runc-v2"}
# Runtimes whose containers are plain processes of this kernel; gVisor's and virtual machines' are not.
_PLAIN = frozenset({"crun", "runc", "youki"})
_SYSTEMD_CGROUP = "--systemd-cgroup"
# Runtimes whose `exec` gives the process our own pipes and ends when it does.
_ENDS_WITH_ITS_PROCESS = frozenset({"crun", "podwright-nspawn", "podwright-vm"})
# Types that are driven by a command line.
_DRIVERS: dict[str, type[CliRuntime]] = {"oci": CliRuntime, "gvisor": GvisorRuntime, "vm": VmRuntime}
# Types that keep all containers of a pod in what its sandbox container brings.
_ISOLATING = frozenset({"gvisor", "vm"})
_TYPES = {"runsc": "gvisor", "podwright-vm": "vm"}


# Options that are not to be given in `options`, and what to set instead.
_OURS = {
    "--root": "set root",
    "-root": "set root",
    _SYSTEMD_CGROUP: "set cgroup.driver",
    "--log": "runtimes' errors are read from there",
    "--log-format": "runtimes' errors are read from there",
}
# The kubelet sends RuntimeClass.handler, which is a DNS label; RFC 1123, 2.1. It is a directory's name here, too.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True)
class HandlerSettings:
    """`[runtime.handlers.NAME]`: one RuntimeClass handler."""

    path: str = field(default="", metadata={"help": "The runtime's program: a path, or a word looked up in PATH."})
    type: Literal["", "oci", "gvisor", "vm", "shim"] = field(
        default="",
        metadata={
            "help": "How it is driven. oci: runc's command line, a container at a time; gvisor: runsc, all containers "
            "of a pod in one\nsentry; vm: podwright-vm, a pod in one virtual machine; shim: a containerd shim (runtime "
            "v2), by its program\nor as containerd names it (io.containerd.kata.v2); empty: by the program's name, "
            "else oci."
        },
    )
    root: Path | None = field(
        default=None, metadata={"help": "Where it keeps its state; default: a directory below the run directory."}
    )
    options: tuple[str, ...] = field(default=(), metadata={"help": "Arguments put before the verb, at every call."})
    wants_sandbox_container: bool | None = field(
        default=None,
        metadata={
            "help": "Whether each pod gets a sandbox container, which comes first and stays to the end; default: where "
            "the\ntype needs it: gvisor, vm, and any shim but the one that calls runc."
        },
    )
    shim_runtime: str = field(
        default="runc", metadata={"help": "The OCI runtime that containerd-shim-runc-v2 calls: a path, or a word."}
    )
    shim_config: str = field(
        default="", metadata={"help": "A configuration file that any other shim is given, as Kata's takes one."}
    )
    allowed_annotations: tuple[str, ...] = field(
        default=(), metadata={"help": "Prefixes of reserved annotations that may reach this runtime all the same."}
    )
    privileged_without_host_devices: bool = field(
        default=False,
        metadata={"help": "Whether privileged containers get only the devices that they ask for (virtual machines)."},
    )
    seccomp_profile: Path | None = field(
        default=None,
        metadata={
            "help": "The seccomp profile that RuntimeDefault means to its containers: a file in OCI's form or Docker's."
        },
    )
    cni_conf_dir: Path | None = field(
        default=None,
        metadata={"help": "CNI configuration of this handler's pods; default: network.conf_dir, as for all others."},
    )
    overhead_memory_bytes: int = field(
        default=0,
        metadata={
            "help": "Memory that a pod costs beside its containers, where the client does not tell (RuntimeClass has it"
            "\nas overhead).",
            "min": 0,
        },
    )
    overhead_cpu_millicores: int = field(
        default=0, metadata={"help": "The same of CPUs, in thousandths of one.", "min": 0}
    )

    def __post_init__(self) -> None:
        """Raises InvalidArgument for what can't be meant."""
        if any(not prefix for prefix in self.allowed_annotations):
            raise InvalidArgument("an empty prefix would let everything through", field="allowed_annotations")
        for word in self.options:
            if word.partition("=")[0] in _OURS:
                raise InvalidArgument(f"{word!r} is set by Podwright; {_OURS[word.partition('=')[0]]}", field="options")
        if self.type in _ISOLATING and self.wants_sandbox_container is False:
            raise InvalidArgument(
                f"all containers of a pod live in what its sandbox container brings: {self.type} needs one",
                field="wants_sandbox_container",
            )


def well_known(name: str) -> HandlerSettings:
    """A handler that has no entry; its program is of its name, or goes without saying."""
    return HandlerSettings(path=_WELL_KNOWN.get(name, name))


@dataclass(frozen=True)
class Settings:
    """`[runtime]`"""

    default: str = field(
        default="", metadata={"help": "The handler that an empty name means; empty: crun if it works here, else runc."}
    )
    handlers: dict[str, HandlerSettings] = field(
        default_factory=dict,
        metadata={"help": "RuntimeClass handlers by name; crun, runc, runsc, shim, nspawn and vm need no entry."},
    )
    timeout_s: float = field(
        default=60.0,
        metadata={"help": "After how many seconds a call of a runtime is taken to hang, and is killed.", "above": 0},
    )

    def __post_init__(self) -> None:
        for name in self.handlers:
            if not _NAME.match(name):
                raise InvalidArgument(
                    f"{name!r} is no handler's name: lower-case letters, digits and dashes, 63 at most",
                    field="handlers",
                )


class ShimDriver(Protocol):
    """Who drives shims, for handlers of that type; a room above has it."""

    def runtime(self, handler: str, settings: HandlerSettings) -> Runtime:
        """Raises FailedPrecondition (program missing), InvalidArgument (settings that shims don't have)."""
        ...

    async def end_leftovers(self) -> None: ...


class Handlers:
    """All handlers of this node. `runtime(name)` gives the driver; the empty name is the default handler.

    `state_root` is a directory of the daemon's run directory: a state directory for each handler, and scratch files.
    `systemd_cgroups`: cgroups paths are systemd's (`SLICE:PREFIX:NAME`), and runtimes are told so. `shims` None: their
    handlers are known, but can't be used.
    """

    def __init__(
        self, settings: Settings, state_root: Path, *, systemd_cgroups: bool = False, shims: ShimDriver | None = None
    ) -> None:  # fmt: skip
        self._settings, self._state_root, self._shims = settings, state_root, shims
        self._cgroup_options = (_SYSTEMD_CGROUP,) if systemd_cgroups else ()
        self._hybrid = hybrid.needed()
        self._runtimes: dict[str, Runtime] = {}
        self._known: dict[str, HandlerSettings] = {
            name: well_known(name)
            for name, path in _WELL_KNOWN.items()
            if name not in settings.handlers and find_program(path) is not None
        }
        ours = own_handlers(systemd_cgroups=systemd_cgroups)
        self._known.update({name: HandlerSettings(path=str(program)) for name, program in ours.items()})
        self._known.update(settings.handlers)
        self._default, self._reason = self._choose_default()

    def _choose_default(self) -> tuple[str, str]:
        wanted = self._settings.default
        if wanted:
            if wanted not in self._known:
                raise InvalidArgument(
                    f"handler {wanted!r} is neither configured nor installed; there are: {self._list()}",
                    field="runtime.default",
                )
            return wanted, f"{wanted}, because the configuration says so"
        reasons: list[str] = []
        for name in _PREFERRED:
            if name not in self._known:
                reasons.append(f"{name} is not installed")
                continue
            try:
                self._create_command(name, self._known[name])
            except PodwrightError as error:
                reasons.append(str(error))
                continue
            why = "; ".join(reasons) or "it creates a container about three times as fast as runc"
            return name, f"{name}, because {why}{self._how(name)}"
        if self._known:
            name = next(iter(self._known))
            return name, f"{name}, the only handler configured"
        raise FailedPrecondition("no OCI runtime is installed: install crun or runc (Debian: apt-get install crun)")

    def _how(self, name: str) -> str:
        if name != "crun" or not self._hybrid:
            return ""
        return f"; it creates in a mount namespace without {hybrid.UNIFIED}, because it refuses hybrid cgroups"

    def _list(self) -> str:
        return ", ".join(sorted(self._known)) or "none"

    @property
    def default(self) -> str:
        """The name of the handler that the empty name means."""
        return self._default

    def names(self) -> tuple[str, ...]:
        """All handlers by name, the default first; the empty name is not among them."""
        return (self._default, *sorted(set(self._known) - {self._default}))

    def explain(self) -> str:
        """Which runtime is the default, and why; for people."""
        return self._reason

    def settings(self, handler: str) -> HandlerSettings:
        """The settings of a handler. Raises InvalidArgument for one that is not there."""
        try:
            return self._known[handler or self._default]
        except KeyError:
            raise InvalidArgument(
                f"{handler!r} is not a handler of this node; there are: {self._list()}", field="runtime_handler"
            ) from None

    def runtime(self, handler: str) -> Runtime:
        """The driver of a handler. Raises InvalidArgument (unknown handler), FailedPrecondition (program missing)."""
        settings, name = self.settings(handler), handler or self._default
        if name not in self._runtimes:
            self._runtimes[name] = self._make(name, settings)
        return self._runtimes[name]

    def _make(self, name: str, settings: HandlerSettings) -> Runtime:
        if self._type(name) == "shim":
            if self._shims is None:
                raise FailedPrecondition(
                    f"handler {name!r} is a containerd shim, which has no command line: try the OCI runtime it calls"
                )
            return self._shims.runtime(name, settings)
        command = self._create_command(name, settings)
        program = self._program(name, settings)
        root, scratch = settings.root or self._state_root / name, self._scratch
        for directory in (root, scratch):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _DRIVERS[self._type(name)](
            program, root, scratch, options=(*self._cgroup_options, *settings.options), create_command=command,
            plain_processes=program.name in _PLAIN, timeout_s=self._settings.timeout_s,
            exec_reaper=None if program.name in _ENDS_WITH_ITS_PROCESS else find_program("conmon"),
        )  # fmt: skip

    def _type(self, name: str) -> str:
        settings = self._known[name]
        word = settings.path or name
        return settings.type or ("shim" if is_shim(word) else _TYPES.get(Path(word).name, "oci"))

    def _has_own_kernel(self, name: str) -> bool:
        """What a shim makes of its pods can't be known, but of the one that calls runc."""
        kind = self._type(name)
        return kind in _ISOLATING or (kind == "shim" and not calls_oci_runtime(self._known[name].path or name))

    def lends_host_devices(self, handler: str) -> bool:
        """Whether privileged containers of the handler get all devices of the host; a machine can't be lent any."""
        settings = self.settings(handler)
        return not settings.privileged_without_host_devices and self._type(handler or self._default) != "vm"

    def cni_conf_dir(self, handler: str) -> Path | None:
        """Where the CNI configuration of its pods is; None: where that of all others is. Also for one that has been
        taken out of the configuration, whose pods still have to leave."""
        known = self._known.get(handler or self._default)
        return known.cni_conf_dir if known else None

    def cni_conf_dirs(self) -> tuple[Path, ...]:
        """The CNI directories that handlers have of their own."""
        return tuple({known.cni_conf_dir: None for known in self._known.values() if known.cni_conf_dir is not None})

    def wants_sandbox_container(self, handler: str) -> bool:
        """Whether a pod of this handler has a sandbox container. Raises InvalidArgument for an unknown handler."""
        wanted = self.settings(handler).wants_sandbox_container
        return self._has_own_kernel(handler or self._default) if wanted is None else wanted

    def isolates(self, handler: str) -> bool:
        """Whether pods of the handler have a kernel or a machine of their own, and nothing of the host's."""
        return self._has_own_kernel(handler or self._default) or self.wants_sandbox_container(handler)

    def _create_command(self, name: str, settings: HandlerSettings) -> RuntimeCommand:
        """What a monitor runs to create a container of this handler."""
        command = RuntimeCommand(self._program(name, settings))
        if self._hybrid and command.path.name == "crun":
            return hybrid.wrapped(command)
        return command

    def _program(self, name: str, settings: HandlerSettings) -> Path:
        word = settings.path or str(own_program(name) or name)
        program = find_program(word)
        if program is None:
            raise FailedPrecondition(
                f"runtime handler {name!r}: program {word!r} is not installed; install it or set "
                f"runtime.handlers.{name}.path"
            )
        return program

    @property
    def _scratch(self) -> Path:
        return self._state_root / ".exec"

    async def end_leftovers(self) -> None:
        """Kill what an earlier daemon was executing in containers when it died. Before any runtime is used."""
        if self._scratch.exists():
            await end_leftovers(self._scratch)
        if self._shims is not None:
            await self._shims.end_leftovers()

    async def features(self) -> dict[str, Features]:
        """By handler; the empty name is the default's, and always there: the kubelet looks for it. Any other handler
        that can't be used is missing, and logged."""
        names = ("", *self.names())
        found = dict(zip(names, await gather_all(*map(self._features, names), name="features"), strict=True))
        known = {name: features for name, features in found.items() if features is not None}
        return {"": Features(self._default, ""), **known}

    async def _features(self, name: str) -> Features | None:
        try:
            return await self.runtime(name).features()
        except PodwrightError as error:
            log.warning("a runtime handler can't be used", handler=name or self._default, error=str(error))
            return None
