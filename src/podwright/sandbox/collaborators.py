"""What the pod verbs work with, in one frozen value that the daemon composes."""

from __future__ import annotations

from dataclasses import dataclass, field

from podwright.base.locks import KeyedLocks
from podwright.cgroup.base import CgroupDriver
from podwright.network.base import Network
from podwright.runtime.handlers import Handlers
from podwright.sandbox.model import Sandboxes
from podwright.sandbox.settings import Settings
from podwright.state.layout import Layout


@dataclass(frozen=True)
class Collaborators:
    """`locks` is held by a pod's id around everything that changes the pod."""

    layout: Layout
    sandboxes: Sandboxes
    network: Network
    cgroups: CgroupDriver
    handlers: Handlers
    settings: Settings
    locks: KeyedLocks = field(default_factory=KeyedLocks)
