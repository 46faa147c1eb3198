"""The backend of OCI runtimes, put together."""

from __future__ import annotations

from podwright import __version__
from podwright.backend.images import NativeImages
from podwright.backend.native import NativeBackend
from podwright.backend.plugin_node import plugin_host
from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.cgroup.detect import cgroup_driver
from podwright.composition.native_node import NativeNode
from podwright.config.schema import Config
from podwright.container.checkpoint.take import Checkpoints
from podwright.container.collaborators import Collaborators as ContainerCollaborators
from podwright.container.model import Containers
from podwright.container.spec.inspect import check_profiles
from podwright.content.store import ContentStore
from podwright.device.cdi import CdiDevices
from podwright.image.service import Images
from podwright.monitor.conmon import Conmon
from podwright.network.cni import CniNetwork
from podwright.nri.service import PluginService
from podwright.registry.client import RegistryClient
from podwright.runtime.handlers import Handlers
from podwright.sandbox.collaborators import Collaborators as SandboxCollaborators
from podwright.sandbox.model import Sandboxes
from podwright.sandbox.policy import check_rules
from podwright.shim.drivers import ShimDrivers
from podwright.shim.monitors import Monitors
from podwright.snapshot.layer import Limits
from podwright.snapshot.overlay import OverlaySnapshotter
from podwright.state.layout import Layout
from podwright.state.store import Store
from podwright.telemetry.metrics import Metrics

log = get_logger(__name__)


class NativeAssembly:
    """Implements `composition.base.Assembly`. Drivers first, then the verbs that use them."""

    def __init__(self, config: Config, layout: Layout, store: Store, tasks: Tasks) -> None:
        self._config, self._layout, self._store = config, layout, store
        self.containers, self.sandboxes = Containers(store), Sandboxes(store)
        self._compose_drivers()
        self._compose_backend(tasks)

    def _compose_drivers(self) -> None:
        config, layout = self._config, self._layout
        self._cgroups = cgroup_driver(config.cgroup)
        systemd = self._cgroups.naming == "systemd"
        timeout_s = config.runtime.timeout_s
        self._shims = ShimDrivers(layout.shims, config.monitor, timeout_s=timeout_s, systemd_cgroups=systemd)
        self._handlers = Handlers(config.runtime, layout.runtime_roots, systemd_cgroups=systemd, shims=self._shims)
        check_rules(config.sandbox.handler_rules, self._handlers)
        self._monitor = Conmon(config.monitor, layout.exits)
        check_profiles(config.runtime.handlers)
        self._network = CniNetwork(config.network, layout.run, self._handlers.cni_conf_dirs())
        self._registry = RegistryClient(config.registry)
        limits = Limits(config.image.max_layer_bytes, config.image.max_layer_entries)
        self._snapshots = OverlaySnapshotter(layout, self._store, limits)
        self._images = Images(
            layout=layout, store=self._store, settings=config.image, registry=self._registry,
            content=ContentStore(layout.content), snapshotter=self._snapshots,
            in_use=lambda image_id: [c.id for c in self.containers if c.uses_image(image_id)],
        )  # fmt: skip
        self.images = NativeImages(self._images)
        self._cdi = CdiDevices(config.device.cdi_spec_dirs)

    def _compose_backend(self, tasks: Tasks) -> None:
        config, layout = self._config, self._layout
        self._plugins = PluginService(
            config.nri, version=__version__, node=lambda: self.backend.plugin_node,
            host=lambda: plugin_host(self._cdi),
        )  # fmt: skip
        plugins = self._plugins.plugins
        pods = SandboxCollaborators(
            layout, self.sandboxes, self._network, self._cgroups, self._handlers, config.sandbox,
            lambda handler: self.node.user_namespace_problem(handler), plugins,
        )  # fmt: skip
        on = ContainerCollaborators(
            layout, self.containers, self._images, self._snapshots, self._handlers,
            Monitors(self._monitor, self._shims.monitor), self._cgroups, config.container,
            lambda handler: self.node.host_facts(handler), self._cdi, plugins,
        )  # fmt: skip
        checkpoints = Checkpoints(on, self._store, config.checkpoint, tasks)
        self.backend = NativeBackend(pods, on, checkpoints, tasks)
        self.node = NativeNode(
            self._network, self._handlers, self._monitor, self._cgroups, self._snapshots, layout, config,
            self.backend.stages, self._cdi,
        )  # fmt: skip

    def explain(self) -> str:
        return self._handlers.explain()

    def add_metrics(self, metrics: Metrics) -> None:
        metrics.gauge("nri_plugins", "NRI plugins that are connected.", lambda: float(len(self._plugins)))

    async def recover(self) -> None:
        await self._images.recover()
        await self._shims.start()
        await self.backend.recover()
        await self.node.learn()

    async def start(self) -> None:
        await self._plugins.start()

    async def stop_accepting(self) -> None:
        await self._plugins.stop()

    async def close(self) -> None:
        await self._shims.close()
        await self._images.close()
        await self._leave_network()
        await self._network.close()
        await self._registry.close()

    async def _leave_network(self) -> None:
        """A daemon without pods takes what it made of the host's network along."""
        if len(self.sandboxes) == 0:
            try:
                await self._network.remove_idle()
            except PodwrightError as error:
                log.warning("the network's rules can't be removed", error=str(error))
