"""What Status and RuntimeConfig say of a node whose containers a Docker Engine runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from podwright import __version__
from podwright.base.errors import FailedPrecondition, PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.cgroup.base import CgroupDriver, Naming
from podwright.container.spec.facts import HostFacts
from podwright.container.spec.inspect import host_facts
from podwright.docker.answers import Info
from podwright.docker.capabilities import known_capabilities
from podwright.docker.engine import Engine
from podwright.docker.errors import EngineTooOld, EngineUnavailable
from podwright.docker.handlers import EngineRuntimes
from podwright.docker.settings import Settings
from podwright.network.base import Network, NetworkStatus
from podwright.runtime.base import Features

log = get_logger(__name__)

_RECURSIVE_READ_ONLY = (1, 44)
_PING_TIMEOUT_S = 2.0
_AGAIN_S = 1.0


class DockerNode:
    """Implements `cri.runtime_service.NodeStatus`."""

    mount_options = False

    def __init__(
        self, engine: Engine, runtimes: EngineRuntimes, network: Network, cgroups: CgroupDriver, settings: Settings,
        *, absent_sources_to_reject: tuple[str, ...], selinux_optional: bool, stages: Callable[[], dict[str, str]],
    ) -> None:  # fmt: skip
        self._engine, self._runtimes, self._network, self._cgroups = engine, runtimes, network, cgroups
        self._settings, self._stages = settings, stages
        self._absent_sources_to_reject, self._selinux_optional = absent_sources_to_reject, selinux_optional
        self._facts: HostFacts | None = None
        self._capabilities: frozenset[str] = frozenset()
        self._info = Info()

    async def learn(self) -> None:
        """Wait for the engine, and ask what it is. Raises EngineUnavailable, FailedPrecondition."""
        await self._wait()
        self._info = await self._engine.get("/info", Info)
        self._runtimes.learn(self._info)
        if self._info.cgroup_driver != self._cgroups.naming:
            raise FailedPrecondition(
                f"Docker makes cgroups by {self._info.cgroup_driver}, Podwright by {self._cgroups.naming}: set "
                f'cgroup.driver = "{self._info.cgroup_driver}" (and the kubelet\'s cgroupDriver)'
            )
        log.info("Docker answers", version=self._engine.version, api=self._engine.api_version)
        self._capabilities = await known_capabilities(self._engine)
        await in_thread(self.host_facts)

    async def _wait(self) -> None:
        """After a boot the engine may come up after us."""
        loop = asyncio.get_running_loop()
        deadline, waiting = loop.time() + self._settings.start_timeout_s, False
        while True:
            try:
                await self._engine.connect()
                return
            except EngineTooOld:
                raise
            except EngineUnavailable as error:
                if loop.time() > deadline:
                    raise
                if not waiting:
                    log.warning("waiting for Docker", error=str(error))
                waiting = True
            await asyncio.sleep(_AGAIN_S)

    def host_facts(self) -> HostFacts:
        """What a container may count on, whichever of Docker's runtimes runs it."""
        if self._facts is None:
            facts = host_facts(
                unified_cgroups=self._cgroups.version == "v2", recursive_read_only=self._recursive_read_only,
                absent_sources_to_reject=self._absent_sources_to_reject, selinux_optional=self._selinux_optional,
                hugepage_limits=self._cgroups.limits_hugepages(), swap_limits=self._cgroups.limits_swap(),
            )  # fmt: skip
            self._facts = replace(facts, capabilities=facts.capabilities & self._capabilities)
        return self._facts

    def gives_privileges(self) -> bool:
        """Whether Docker's "privileged" works here: it means all capabilities that Docker knows."""
        return self.host_facts().capabilities == self._capabilities

    @property
    def _recursive_read_only(self) -> bool:
        return self._engine.api_version >= _RECURSIVE_READ_ONLY

    async def runtime_problem(self) -> str:
        """Whether the engine answers at this moment."""
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                await self._engine.read("/_ping")
        except PodwrightError as error:
            return str(error)
        except TimeoutError:
            return f"Docker does not answer within {_PING_TIMEOUT_S:g} s"
        return ""

    async def network(self) -> NetworkStatus:
        return await self._network.status()

    async def set_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        await self._network.set_pod_cidrs(cidrs)

    def handlers(self) -> dict[str, Features]:
        return self._runtimes.features(recursive_read_only=self._recursive_read_only)

    @property
    def cgroup_driver(self) -> Naming:
        return self._cgroups.naming

    async def info(self) -> dict[str, str]:
        facts = {
            "version": __version__,
            "backend": "docker",
            "docker": self._engine.version,
            "dockerApi": ".".join(map(str, self._engine.api_version)),
            "dockerRoot": self._info.docker_root_dir,
            "liveRestore": self._info.live_restore_enabled,
            "runtimes": self._runtimes.names(),
            "network": self._network.config_name,
            "cgroups": self._cgroups.version,
            "operations": self._stages(),
        }
        return {"config": json.dumps(facts), "network": json.dumps(self._network.describe())}

    def explain(self) -> str:
        return f"Docker {self._engine.version} at {self._settings.socket}, runtime {self._runtimes.default}"
