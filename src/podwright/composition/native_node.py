"""What Status and RuntimeConfig say of a node whose containers are run by OCI runtimes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from podwright import __version__
from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.cgroup.base import CgroupDriver, Naming
from podwright.config.schema import Config
from podwright.container.spec.facts import HostFacts
from podwright.container.spec.inspect import host_facts
from podwright.device.cdi import CdiDevices
from podwright.monitor.conmon import Conmon
from podwright.network.base import Network, NetworkStatus
from podwright.runtime.base import Features
from podwright.runtime.handlers import Handlers
from podwright.security import apparmor
from podwright.snapshot.overlay import OverlaySnapshotter
from podwright.state.layout import Layout

log = get_logger(__name__)


class NativeNode:
    """Implements `cri.runtime_service.NodeStatus`."""

    mount_options = True

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
                default_profile_file=self._handlers.settings(handler).seccomp_profile,
                privileged_devices=self._handlers.lends_host_devices(handler),
                device_ownership=self._config.device.device_ownership_from_security_context,
                absent_sources_to_reject=self._config.container.absent_mount_sources_to_reject,
                selinux_optional=self._config.container.selinux_optional,
                hugepage_limits=self._cgroups.limits_hugepages(),
                swap_limits=self._cgroups.limits_swap(),
                unknown_capabilities=features.unknown_capabilities if features is not None else frozenset(),
                hidden_paths=features is None or features.hidden_paths,
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

    async def runtime_problem(self) -> str:
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
