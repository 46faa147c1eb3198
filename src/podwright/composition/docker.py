"""The backend of a Docker Engine, put together."""

from __future__ import annotations

from pathlib import Path

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.cgroup.detect import cgroup_driver
from podwright.config.schema import Config
from podwright.container.model import Containers
from podwright.docker.backend import DockerBackend
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.writable_layer import WritableLayers
from podwright.docker.engine import Engine
from podwright.docker.handlers import EngineRuntimes
from podwright.docker.image.service import DockerImages
from podwright.docker.instance import instance_word
from podwright.docker.node import DockerNode
from podwright.docker.pod.pause_image import REPOSITORY
from podwright.network.cni import CniNetwork
from podwright.sandbox.model import Sandboxes
from podwright.sandbox.policy import check_rules
from podwright.state.layout import Layout
from podwright.state.store import Store
from podwright.telemetry.metrics import Metrics

log = get_logger(__name__)


class DockerAssembly:
    """Implements `composition.base.Assembly`."""

    def __init__(self, config: Config, layout: Layout, store: Store, tasks: Tasks) -> None:
        self._config, self._root = config, Path()
        self.containers, self.sandboxes = Containers(store), Sandboxes(store)
        self._engine, self._runtimes = Engine(config.docker.socket), EngineRuntimes()
        self._network, cgroups = CniNetwork(config.network, layout.run), cgroup_driver(config.cgroup)
        self.images = DockerImages(
            self._engine, config.image, config.registry, layout.root / "spool", pinned=[f"{REPOSITORY}:*"],
            mounted_by=lambda image_id: [c.id for c in self.containers if c.mounts_image(image_id)],
        )  # fmt: skip
        on = Collaborators(
            layout=layout, sandboxes=self.sandboxes, containers=self.containers, engine=self._engine,
            instance=instance_word(store), handlers=self._runtimes, network=self._network, cgroups=cgroups,
            settings=config.docker, pod_settings=config.sandbox, container_settings=config.container,
            monitor_settings=config.monitor, images=self.images, layers=WritableLayers(),
            host=lambda: self.node.host_facts(), gives_privileges=lambda: self.node.gives_privileges(), tasks=tasks,
        )  # fmt: skip
        self.backend = DockerBackend(on, store, lambda: self._root)
        self.node = DockerNode(
            self._engine, self._runtimes, self._network, cgroups, config.docker,
            absent_sources_to_reject=config.container.absent_mount_sources_to_reject,
            selinux_optional=config.container.selinux_optional, stages=self.backend.stages,
        )  # fmt: skip

    def explain(self) -> str:
        return self.node.explain()

    def add_metrics(self, metrics: Metrics) -> None:
        """None of its own."""

    async def recover(self) -> None:
        await self.node.learn()
        check_rules(self._config.sandbox.handler_rules, self._runtimes)
        self._root = await self.images.root()
        await self.images.recover()
        await self.backend.recover()

    async def start(self) -> None:
        """It listens on nothing of its own."""

    async def stop_accepting(self) -> None:
        """As `start`."""

    async def close(self) -> None:
        await self.images.close()
        if len(self.sandboxes) == 0:
            await self._leave_network()
        await self._network.close()
        await self._engine.close()

    async def _leave_network(self) -> None:
        """A daemon without pods takes what it made of the host's network along."""
        try:
            await self._network.remove_idle()
        except PodwrightError as error:
            log.warning("the network's rules can't be removed", error=str(error))
