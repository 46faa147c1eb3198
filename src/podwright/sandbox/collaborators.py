"""What the pod verbs work with, in one frozen value that the daemon composes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from podwright.base.locks import KeyedLocks
from podwright.cgroup.base import CgroupDriver
from podwright.network.base import Network
from podwright.nri.base import NoPlugins, Plugins
from podwright.runtime.handlers import Handlers
from podwright.sandbox.model import Sandboxes
from podwright.sandbox.settings import Settings
from podwright.state.layout import Layout


class PodHandlers(Protocol):
    """What a pod's network depends on its handler for."""

    def cni_conf_dir(self, handler: str) -> Path | None:
        """Where the CNI configuration of its pods is; None: where that of all others is."""
        ...


class PodParts(Protocol):
    """What the pods of every backend stand on: the steps that backends share take this much."""

    @property
    def layout(self) -> Layout: ...

    @property
    def sandboxes(self) -> Sandboxes: ...

    @property
    def network(self) -> Network: ...

    @property
    def cgroups(self) -> CgroupDriver: ...

    @property
    def handlers(self) -> PodHandlers: ...


@dataclass(frozen=True)
class Collaborators:
    """`locks` is held by a pod's id around everything that changes the pod.

    `user_namespace_problem` tells why pods of a handler can't have a user namespace of their own; '' when they can.
    """

    layout: Layout
    sandboxes: Sandboxes
    network: Network
    cgroups: CgroupDriver
    handlers: Handlers
    settings: Settings
    user_namespace_problem: Callable[[str], str]
    plugins: Plugins = field(default_factory=NoPlugins)
    locks: KeyedLocks = field(default_factory=KeyedLocks)
