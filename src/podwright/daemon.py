"""The composition root: settings → objects → recover → serve → run until a signal.

The only file that knows every room.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from podwright import __version__
from podwright.backend.native import NativeBackend
from podwright.backend.plugin_node import plugin_host
from podwright.base import log as logging
from podwright.base.errors import PodwrightError
from podwright.base.locks import DirectoryLock
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, in_thread
from podwright.cgroup.base import CgroupDriver, Naming
from podwright.cgroup.detect import cgroup_driver
from podwright.config.schema import Config
from podwright.container.checkpoint.take import Checkpoints
from podwright.container.collaborators import Collaborators as ContainerCollaborators
from podwright.container.model import Containers
from podwright.container.spec.facts import HostFacts
from podwright.container.spec.inspect import host_facts
from podwright.content.store import ContentStore
from podwright.cri.checkpoint_service import CheckpointService
from podwright.cri.events import Events
from podwright.cri.events_service import EventsService
from podwright.cri.image_service import ImageService
from podwright.cri.interceptors import Interceptors
from podwright.cri.list_service import ListService
from podwright.cri.metrics_service import MetricsService
from podwright.cri.podwright_service import PodwrightService
from podwright.cri.runtime_service import RuntimeService
from podwright.cri.server import Server
from podwright.cri.stats_service import StatsService
from podwright.cri.streaming_service import StreamingService
from podwright.criapi import api_pb2, podwright_pb2
from podwright.device.cdi import CdiDevices
from podwright.image.service import Images
from podwright.linux.orphans import Orphans
from podwright.linux.systemd_notify import notify
from podwright.monitor.conmon import Conmon
from podwright.network.base import Network, NetworkStatus
from podwright.network.cni import CniNetwork
from podwright.nri.service import PluginService
from podwright.registry.client import RegistryClient
from podwright.runtime.base import Features
from podwright.runtime.handlers import Handlers
from podwright.sandbox.collaborators import Collaborators as SandboxCollaborators
from podwright.sandbox.model import Sandboxes
from podwright.sandbox.policy import check_rules
from podwright.security import apparmor
from podwright.snapshot.layer import Limits
from podwright.snapshot.overlay import OverlaySnapshotter
from podwright.state.layout import Layout
from podwright.state.store import Store
from podwright.streaming.server import StreamingServer
from podwright.telemetry.metrics import Metrics

log = get_logger(__name__)


class Node:
    """What Status and RuntimeConfig say; implements `cri.runtime_service.NodeStatus`."""

    def __init__(
        self,
        network: Network,
        handlers: Handlers,
        monitor: Conmon,
        cgroups: CgroupDriver,
        snapshots: OverlaySnapshotter,
        layout: Layout,
        config: Config,
        stages: Callable[[], dict[str, str]],
        cdi: CdiDevices,
    ) -> None:
        self._network, self._handlers, self._monitor, self._cgroups = network, handlers, monitor, cgroups
        self._snapshots, self._layout, self._config, self._stages = snapshots, layout, config, stages
        self._cdi = cdi
        self._no_user_namespaces = "it is not known yet whether this machine has them"
        self._features: dict[str, Features] = {}
        self._host_facts: dict[str, HostFacts] = {}

    async def learn(self) -> None:
        """Ask the runtimes what they can do; once, since it costs a process each. Then what the first pod will ask."""
        await apparmor.load_default()
        features = await self._handlers.features()
        self._no_user_namespaces = self._closed() or await self._snapshots.idmap_problem()
        if self._no_user_namespaces:
            log.info("no pod can have a user namespace", because=self._no_user_namespaces)
        self._features = {
            name: replace(found, user_namespaces=found.user_namespaces and not self._no_user_namespaces)
            for name, found in features.items()
        }
        await in_thread(self.host_facts, "")

    def host_facts(self, handler: str) -> HostFacts:
        """What the specification of a container of this handler may count on."""
        facts = self._host_facts.get(handler)
        if facts is None:
            features = self._features.get(handler)
            facts = self._host_facts[handler] = host_facts(
                unified_cgroups=self._cgroups.version == "v2",
                recursive_read_only=features is not None and features.recursive_read_only_mounts,
                compiled_seccomp=features is not None and features.compiled_seccomp,
                allowed_annotations=self._handlers.settings(handler).allowed_annotations,
                privileged_devices=not self._handlers.settings(handler).privileged_without_host_devices,
                device_ownership=self._config.device.device_ownership_from_security_context,
                absent_sources_to_reject=self._config.container.absent_mount_sources_to_reject,
                selinux_optional=self._config.container.selinux_optional,
                hugepage_limits=self._cgroups.limits_hugepages(),
                swap_limits=self._cgroups.limits_swap(),
            )
        return facts

    def _closed(self) -> str:
        """The root of a user namespace mounts for itself, and so has to reach its root file system."""
        closed = self._layout.closed_parent()
        return f"only its owner can pass through {closed}: chmod o+x {closed}" if closed else ""

    def user_namespace_problem(self, handler: str) -> str:
        """Why a pod of this handler can't have a user namespace of its own; '' when it can."""
        features = self._features.get(handler)
        if self._no_user_namespaces or (features is not None and features.user_namespaces):
            return self._no_user_namespaces
        return "its runtime has none; Status.runtime_handlers lists who has"

    def runtime_problem(self) -> str:
        """Why no container can be created on this node; "" when nothing is known to be in the way."""
        try:
            self._handlers.runtime("")
            self._monitor.require()
        except PodwrightError as error:
            return str(error)
        return ""

    async def network(self) -> NetworkStatus:
        return await self._network.status()

    async def set_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        await self._network.set_pod_cidrs(cidrs)

    def handlers(self) -> dict[str, Features]:
        return self._features

    @property
    def cgroup_driver(self) -> Naming:
        return self._cgroups.naming

    async def info(self) -> dict[str, str]:
        known = await in_thread(self._cdi.known)
        facts = {
            "version": __version__,
            "root": str(self._config.state.root),
            "stateDir": str(self._config.state.root),  # critest looks here for a path to probe idmapped mounts with
            "run": str(self._config.state.run),
            "runtime": self._handlers.explain(),
            "network": self._network.config_name,
            "cgroups": self._cgroups.version,
            "operations": self._stages(),
        }
        cdi = {"devices": sorted(known.devices), "problems": known.problems}
        network = self._network.describe()
        return {"config": json.dumps(facts), "cdi": json.dumps(cdi), "network": json.dumps(network)}


class Daemon:
    """One daemon on one root. `start` and `stop` bracket its life; containers outlive it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._serving = False
        self.layout = Layout(config.state.root, config.state.run)
        self.layout.create()
        self._lock = DirectoryLock(self.layout.lock)
        self._tasks = Tasks("daemon")
        self._metrics = Metrics()
        self._stop_metrics: Callable[[], None] | None = None
        self._compose()

    def _compose(self) -> None:
        config, layout = self._config, self.layout
        self._store = Store(layout.database)
        containers, sandboxes = Containers(self._store), Sandboxes(self._store)
        self._sandboxes = sandboxes
        cgroups = cgroup_driver(config.cgroup)
        self._handlers = Handlers(config.runtime, layout.runtime_roots, systemd_cgroups=cgroups.naming == "systemd")
        check_rules(config.sandbox.handler_rules, self._handlers)
        self._network = CniNetwork(config.network, layout.run)
        self._registry = RegistryClient(config.registry)
        snapshots = OverlaySnapshotter(
            layout, self._store, Limits(config.image.max_layer_bytes, config.image.max_layer_entries)
        )
        self._images = Images(
            layout=layout, store=self._store, settings=config.image, registry=self._registry,
            content=ContentStore(layout.content), snapshotter=snapshots,
            in_use=lambda image_id: [c.id for c in containers if c.uses_image(image_id)],
        )  # fmt: skip
        cdi = CdiDevices(config.device.cdi_spec_dirs)
        self._plugins = PluginService(
            config.nri, version=__version__, node=lambda: self._backend.plugin_node, host=lambda: plugin_host(cdi)
        )
        plugins = self._plugins.plugins
        pods = SandboxCollaborators(
            layout, sandboxes, self._network, cgroups, self._handlers, config.sandbox,
            lambda handler: self._node.user_namespace_problem(handler), plugins,
        )  # fmt: skip
        monitor = Conmon(config.monitor, layout.exits)
        on = ContainerCollaborators(
            layout, containers, self._images, snapshots, self._handlers, monitor,
            cgroups, config.container, lambda handler: self._node.host_facts(handler), cdi, plugins,
        )  # fmt: skip
        checkpoints = Checkpoints(on, self._store, config.checkpoint, self._tasks)
        self._backend = NativeBackend(pods, on, checkpoints, self._tasks)
        self._node = Node(
            self._network, self._handlers, monitor, cgroups, snapshots, layout, config, self._backend.stages, cdi
        )
        self._events = Events(self._backend, queue_limit=config.server.max_unread_events)
        self._streaming = StreamingServer(config.streaming, self._backend)
        self._server = Server(config.server, Interceptors(self._metrics, lambda: self._serving))
        self._server.serve(
            api_pb2.DESCRIPTOR.services_by_name["RuntimeService"],
            RuntimeService(self._backend, self._node, layout),
            ListService(self._backend),
            StatsService(self._backend),
            MetricsService(self._backend),
            EventsService(self._events),
            StreamingService(self._backend, self._streaming),
            CheckpointService(self._backend),
        )
        self._server.serve(api_pb2.DESCRIPTOR.services_by_name["ImageService"], ImageService(self._images))
        self._server.serve(podwright_pb2.DESCRIPTOR.services_by_name["Podwright"], PodwrightService(self._images))
        self._metrics.gauge("sandboxes", "Pods in the store.", lambda: float(len(sandboxes)))
        self._metrics.gauge("containers", "Containers in the store.", lambda: float(len(containers)))
        self._metrics.gauge("event_listeners", "Open GetContainerEvents streams.", lambda: float(len(self._events)))
        self._metrics.gauge(
            "streaming_connections", "Open connections of exec, attach and port-forward.",
            lambda: float(len(self._streaming)),
        )  # fmt: skip
        self._metrics.gauge("nri_plugins", "NRI plugins that are connected.", lambda: float(len(self._plugins)))
        self._metrics.gauge("background_tasks", "Tasks of the daemon.", lambda: float(len(self._tasks)))

    async def start(self) -> None:
        """Recover, then serve: when the socket answers, every status is right."""
        await self._images.recover()
        await self._backend.recover()
        await self._node.learn()
        self._metrics.quarantined.set(self._store.quarantined())
        if self._config.telemetry.metrics_address:
            self._stop_metrics = self._metrics.serve(self._config.telemetry.metrics_address)
        await self._streaming.start()
        await self._plugins.start()
        self._serving = True
        await self._server.start()
        log.info("serving", socket=str(self._config.server.socket), runtime=self._handlers.explain())
        notify("READY=1")

    async def _leave_network(self) -> None:
        """A daemon without pods takes what it made of the host's network along."""
        if len(self._sandboxes) == 0:
            try:
                await self._network.remove_idle()
            except PodwrightError as error:
                log.warning("the network's rules can't be removed", error=str(error))

    async def stop(self) -> None:
        """Stop serving. Containers and their monitors run on."""
        notify("STOPPING=1")
        self._events.close()
        await self._server.stop()
        self._serving = False
        await self._streaming.stop()
        if self._stop_metrics is not None:
            self._stop_metrics()
        await self._plugins.stop()
        await self._tasks.close()
        await self._images.close()
        await self._leave_network()
        await self._network.close()
        await self._registry.close()
        self._store.close()
        self._lock.release()


def serve(config: Config) -> int:
    """Run a daemon until SIGTERM or SIGINT. Gives the exit status."""
    logging.configure(config.telemetry.log_level, as_json=config.telemetry.log_format == "json")
    try:
        return asyncio.run(_serve(config))
    except PodwrightError as error:
        log.error("can't start", error=str(error))
        return 1


async def _serve(config: Config) -> int:
    daemon = Daemon(config)
    orphans = Orphans()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    await daemon.start()
    await asked_to_stop.wait()
    log.info("stopping; containers run on", host=socket.gethostname())
    await daemon.stop()
    orphans.close()
    return 0
