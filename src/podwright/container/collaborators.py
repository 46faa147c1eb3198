"""What the container verbs work with, in one frozen value that the daemon composes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from podwright.base.locks import KeyedLocks
from podwright.cgroup.base import CgroupDriver
from podwright.container.model import Containers
from podwright.container.settings import Settings
from podwright.container.spec.facts import HostFacts
from podwright.device.cdi import CdiDevices
from podwright.image.service import Images
from podwright.monitor.base import Monitor
from podwright.nri.base import NoPlugins, Plugins
from podwright.runtime.handlers import Handlers
from podwright.snapshot.base import Snapshotter
from podwright.state.layout import Layout


@dataclass(frozen=True)
class Collaborators:
    """`host` tells what the machine and a handler can do. `locks` is held by a container's id around create, start
    and remove; a stop must be able to overtake them."""

    layout: Layout
    containers: Containers
    images: Images
    snapshots: Snapshotter
    handlers: Handlers
    monitor: Monitor
    cgroups: CgroupDriver
    settings: Settings
    host: Callable[[str], HostFacts]
    cdi: CdiDevices
    plugins: Plugins = field(default_factory=NoPlugins)
    locks: KeyedLocks = field(default_factory=KeyedLocks)
