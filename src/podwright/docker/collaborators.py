"""What the verbs of this backend work with, in one frozen value that the daemon composes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from podwright.backend.images import ImageBackend
from podwright.base.locks import KeyedLocks
from podwright.base.tasks import Tasks
from podwright.cgroup.base import CgroupDriver
from podwright.container.model import Containers
from podwright.container.settings import Settings as ContainerSettings
from podwright.container.spec.facts import HostFacts
from podwright.docker.container.writable_layer import WritableLayers
from podwright.docker.engine import Engine
from podwright.docker.handlers import EngineRuntimes
from podwright.docker.settings import Settings
from podwright.monitor.base import Settings as MonitorSettings
from podwright.network.base import Network
from podwright.sandbox.model import Sandboxes
from podwright.sandbox.settings import Settings as PodSettings
from podwright.state.layout import Layout


@dataclass(frozen=True)
class Collaborators:
    """`instance`: the word in our labels. `host`: what the machine and the engine can do; `gives_privileges`: whether
    Docker's "privileged" works on it. `layers` learns where writable layers are. `locks` are held by a pod's or
    container's id around everything that changes it.
    """

    layout: Layout
    sandboxes: Sandboxes
    containers: Containers
    engine: Engine
    instance: str
    handlers: EngineRuntimes
    network: Network
    cgroups: CgroupDriver
    settings: Settings
    pod_settings: PodSettings
    container_settings: ContainerSettings
    monitor_settings: MonitorSettings
    images: ImageBackend
    layers: WritableLayers
    host: Callable[[], HostFacts]
    gives_privileges: Callable[[], bool]
    tasks: Tasks
    locks: KeyedLocks = field(default_factory=KeyedLocks)
