"""Pod networks by CNI plugins: ADD, DEL, CHECK, GC and STATUS over the configured list. SPEC.md, sections 2 and 3.

`sandbox/` calls it through the `Network` protocol. Loopback is not its business: a pinned namespace has it up.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.base.undo import Undo
from podwright.linux.nftables import Nftables
from podwright.network import capabilities, results, udp_flows
from podwright.network.base import (
    INTERFACE,
    Executed,
    NetworkNotReady,
    NetworkResult,
    NetworkStatus,
    PodNetwork,
    Settings,
)
from podwright.network.conflist import ConfDir, Conflist, version_of
from podwright.network.default_bridge import DefaultBridge
from podwright.network.host_ports import HostPorts, table_name
from podwright.network.namespaces import is_pinned
from podwright.network.plugins import UNKNOWN_CONTAINER, PluginFailed, Plugins

log = get_logger(__name__)

_PREVIOUS_RESULT_SINCE = (0, 4, 0)  # for DEL and CHECK, which is as old
_GC_AND_STATUS_SINCE = (1, 1, 0)
_STATUS_PATIENCE_S = 0.5
_NOT_READY = "NetworkPluginNotReady"


class CniNetwork:
    """The `Network` of this node. Below `run`, the daemon's run directory, the built-in network keeps its leases.

    `conf_dirs`: those that pods may have instead of the settings'.
    """

    def __init__(self, settings: Settings, run: Path, conf_dirs: Iterable[Path] = ()) -> None:
        self._settings = settings
        self._confs = ConfDir(settings.conf_dir)
        self._others = {directory: ConfDir(directory) for directory in conf_dirs if directory != settings.conf_dir}
        self._plugins = Plugins(settings.plugin_dirs, timeout_s=settings.plugin_timeout_s)
        self._nftables = Nftables()
        self.default = DefaultBridge(settings, run, self._nftables)
        self.host_ports = HostPorts(self._nftables, table_name(run))
        self._tasks = Tasks("network")
        self._gate = _Gate()
        self._status = _StatusCache(self._ask_status, settings.status_interval_s, self._tasks)

    @property
    def config_name(self) -> str:
        conflist = self._current()
        return conflist.name if conflist else ""

    def _current(self, conf_dir: Path | None = None) -> Conflist | None:
        """What a pod gets. The built-in network stands in for the node's configuration only."""
        if conf_dir is not None and conf_dir in self._others:
            return self._others[conf_dir].current()
        conflist = self._confs.current()
        if conflist is None and self._confs.empty and self._settings.default_network == "bridge":
            return self.default.conflist()
        return conflist

    def _why_not(self, conf_dir: Path | None = None) -> str:
        if problems := self._others.get(conf_dir or Path(), self._confs).problems:
            return "no valid CNI configuration: " + "; ".join(problems)
        if conf_dir in self._others:
            return f"there is no CNI configuration in {conf_dir}, which the pod's handler has as its cni_conf_dir"
        return (
            f"there is no CNI configuration in {self._settings.conf_dir}: install a network add-on, "
            'or set network.default_network = "bridge"'
        )

    def require(self, pod: PodNetwork) -> None:
        conflist = self._current(pod.conf_dir)
        if conflist is None:
            raise NetworkNotReady(self._why_not(pod.conf_dir))
        capabilities.check_ports(pod)
        if capabilities.ports_are_left(pod, conflist.plugins):
            self.host_ports.require(pod.port_mappings)
        for plugin in _plan(conflist, capabilities.arguments(pod)).plugins:
            for name in _programs(plugin):
                self._plugins.find(name, network=conflist.name, file=str(conflist.file or ""))

    async def add(self, pod: PodNetwork) -> NetworkResult:
        conflist = self._current(pod.conf_dir)
        if conflist is None:
            raise NetworkNotReady(self._why_not(pod.conf_dir))
        if pod.netns is None or not is_pinned(pod.netns):
            raise FailedPrecondition(f"pod {pod.namespace}/{pod.name} has no network namespace at {pod.netns}")
        capabilities.check_ports(pod)
        if not conflist.file:
            self.default.keep_router_advertisements()
            self._tasks.start(self.default.ensure_rules(), name="host rules")
        asked = capabilities.arguments(pod)
        plan = _plan(conflist, asked)
        async with self._gate.shared(), Undo(f"network of {pod.namespace}/{pod.name}") as undo:
            undo.add("CNI DEL", lambda: self._delete(pod, plan))
            executed = await self._run_add(pod, plan, asked)
            result = results.parse(executed.result, executed)
            if capabilities.ports_are_left(pod, plan.plugins):
                undo.add("close host ports", lambda: self.host_ports.close(pod.sandbox_id))
                result = await self._open_host_ports(pod, result)
            undo.keep()
        if any(mapping.protocol == "udp" for mapping in pod.port_mappings):
            self._tasks.start(udp_flows.forget_before(pod, result.ips), name="UDP flows")
        return result

    async def _open_host_ports(self, pod: PodNetwork, result: NetworkResult) -> NetworkResult:
        forwards = self.host_ports.forwards(pod.port_mappings, results.addresses(result.executed.result))
        await self.host_ports.open(pod.sandbox_id, forwards)
        return msgspec.structs.replace(result, forwards=forwards)

    async def _run_add(self, pod: PodNetwork, plan: Executed, asked: Mapping[str, Any]) -> Executed:
        result: dict[str, Any] | None = None
        for plugin in plan.plugins:
            request = _request(plan, plugin, asked, result)
            answer = await self._plugins.run("ADD", request, _parameters(pod), file=plan.file)
            result = results.convert(answer or {}, plan.version)
        return Executed(
            plan.network, plan.version, plan.plugins, result or {}, plan.file, plan.disable_check, plan.disable_gc
        )

    async def delete(self, pod: PodNetwork, result: NetworkResult | None) -> None:
        if result is not None:
            plan = result.executed
        else:
            conflist = self._current(pod.conf_dir)
            if conflist is None:
                why = self._why_not(pod.conf_dir)
                log.warning("network of a pod can't be deleted: no configuration", pod=pod.name, why=why)
                return
            plan = _plan(conflist, capabilities.arguments(pod))
        async with self._gate.shared():
            await self.host_ports.close(pod.sandbox_id)  # first: nobody may reach the address's next owner by them
            await self._delete(pod, plan)
        if result is not None:
            await udp_flows.forget_after(pod, result.ips)

    async def _delete(self, pod: PodNetwork, plan: Executed) -> None:
        previous = plan.result if version_of(plan.version) >= _PREVIOUS_RESULT_SINCE else None
        asked = capabilities.arguments(pod)
        for plugin in reversed(plan.plugins):
            request = _request(plan, plugin, asked, previous or None)
            try:
                await self._plugins.run("DEL", request, _parameters(pod), file=plan.file)
            except PluginFailed as error:
                if error.code != UNKNOWN_CONTAINER:
                    raise

    async def check(self, pod: PodNetwork, result: NetworkResult) -> None:
        plan = result.executed
        if plan.disable_check or version_of(plan.version) < _PREVIOUS_RESULT_SINCE:
            return
        asked = capabilities.arguments(pod)
        for plugin in plan.plugins:
            request = _request(plan, plugin, asked, plan.result)
            await self._plugins.run("CHECK", request, _parameters(pod), file=plan.file)

    async def gc(self, attached: Mapping[str, NetworkResult | None]) -> None:
        known = {sandbox_id: result for sandbox_id, result in attached.items() if result is not None}
        plans = {result.executed.network: result.executed for result in known.values()}
        for conflist in (self._current(), *(confs.current() for confs in self._others.values())):
            if conflist is not None:
                plans[conflist.name] = _plan(conflist, None)
        attachments = [{"containerID": sandbox_id, "ifname": INTERFACE} for sandbox_id in sorted(attached)]
        async with self._gate.alone():
            await self._restore_host_ports(known)
            for plan in plans.values():
                if not plan.file:
                    self.default.drop_stale_leases(attached)
                elif not plan.disable_gc and version_of(plan.version) >= _GC_AND_STATUS_SINCE:
                    await self._gc_network(plan, attachments)

    async def _restore_host_ports(self, known: Mapping[str, NetworkResult]) -> None:
        try:
            await self.host_ports.restore({sandbox_id: result.forwards for sandbox_id, result in known.items()})
        except PodwrightError as error:
            log.error("host ports can't be restored", error=str(error))

    async def _gc_network(self, plan: Executed, attachments: list[dict[str, str]]) -> None:
        # The second key is the one that plugins written against drafts of 1.1 read.
        keys = {"cni.dev/valid-attachments": attachments, "cni.dev/attachments": attachments}
        for plugin in plan.plugins:
            try:
                await self._plugins.run("GC", {**_bare_request(plan, plugin), **keys}, {}, file=plan.file)
            except PodwrightError as error:
                log.warning("network garbage collection failed", network=plan.network, error=str(error))

    async def status(self) -> NetworkStatus:
        conflist = self._current()
        if conflist is None:
            return NetworkStatus(ready=False, reason=_NOT_READY, message=self._why_not())
        try:
            for plugin in conflist.plugins:
                for name in _programs(plugin):
                    self._plugins.find(name, network=conflist.name, file=conflist.file)
        except PodwrightError as error:
            return NetworkStatus(ready=False, reason=_NOT_READY, message=str(error))
        if version_of(conflist.version) < _GC_AND_STATUS_SINCE:
            return NetworkStatus(ready=True)
        return await self._status.get(conflist)

    async def _ask_status(self, conflist: Conflist) -> NetworkStatus:
        plan = _plan(conflist, None)
        for plugin in plan.plugins:
            try:
                await self._plugins.run("STATUS", _bare_request(plan, plugin), {}, file=plan.file)
            except PodwrightError as error:
                return NetworkStatus(ready=False, reason=_NOT_READY, message=str(error))
        return NetworkStatus(ready=True)

    def describe(self) -> Mapping[str, object]:
        conflist = self._current()
        plugins = conflist.plugins if conflist else ()
        mapped_by = capabilities.port_mapper(plugins)
        return {
            "name": conflist.name if conflist else "",
            "file": conflist.file if conflist else "",
            "plugins": [str(plugin["type"]) for plugin in plugins],
            "hostPorts": f"CNI plugin {mapped_by}" if mapped_by else f"nftables table inet {self.host_ports.table}",
            "problems": list(self._confs.problems),
        }

    async def set_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        self.default.set_pod_cidrs(cidrs)

    async def remove_idle(self) -> None:
        """Take along what a node without pods has no use for: the built-in bridge and the table of host ports."""
        await self.host_ports.remove_idle()
        await self.default.remove_idle()

    async def close(self) -> None:
        await self._tasks.close()
        await self.host_ports.end()
        self._nftables.close()


def _plan(conflist: Conflist, asked: Mapping[str, Any] | None) -> Executed:
    """The plugins to run; with `asked`, without those that would have nothing to do for this pod."""
    plugins = tuple(
        plugin for number, plugin in enumerate(conflist.plugins)
        if number == 0 or asked is None or capabilities.has_work(plugin, asked)
    )  # fmt: skip
    return Executed(
        conflist.name, conflist.version, plugins, {}, conflist.file, conflist.disable_check, conflist.disable_gc
    )


def _bare_request(plan: Executed, plugin: Mapping[str, Any]) -> dict[str, Any]:
    """A plugin's input as its configuration has it. SPEC.md, "Deriving request configuration"."""
    kept = {key: value for key, value in plugin.items() if key != "capabilities"}
    return {**kept, "name": plan.network, "cniVersion": plan.version}


def _request(
    plan: Executed, plugin: Mapping[str, Any], asked: Mapping[str, Any], previous: dict[str, Any] | None
) -> dict[str, Any]:
    request = _bare_request(plan, plugin)
    arguments = capabilities.runtime_config(plugin, asked)
    if arguments:
        given = plugin.get("runtimeConfig")
        request["runtimeConfig"] = {**(given if isinstance(given, dict) else {}), **arguments}
    if previous is not None:
        request["prevResult"] = previous
    return request


def _parameters(pod: PodNetwork) -> dict[str, str]:
    """The CNI_* variables of ADD, DEL and CHECK. Plugins such as multus and calico read the K8S_POD_* arguments."""
    arguments = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": pod.namespace,
        "K8S_POD_NAME": pod.name,
        "K8S_POD_INFRA_CONTAINER_ID": pod.sandbox_id,
        "K8S_POD_UID": pod.uid,
    }
    for key, value in arguments.items():
        if ";" in value or "\0" in value:
            raise InvalidArgument(f"{value!r} can't be handed to CNI plugins as {key}")
    return {
        "CNI_CONTAINERID": pod.sandbox_id,
        "CNI_NETNS": os.fspath(pod.netns) if pod.netns is not None and is_pinned(pod.netns) else "",
        "CNI_IFNAME": INTERFACE,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
    }


def _programs(plugin: Mapping[str, Any]) -> list[str]:
    """The plugin, and the one it delegates addresses to."""
    ipam = plugin.get("ipam")
    delegate = ipam.get("type") if isinstance(ipam, dict) else None
    return [str(plugin["type"]), *([str(delegate)] if delegate else [])]


class _Gate:
    """Many ADDs and DELs at a time, or one GC alone. SPEC.md, "Lifecycle & Ordering"."""

    def __init__(self) -> None:
        self._inside = 0
        self._empty, self._open = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._open.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        while not self._open.is_set():
            await self._open.wait()
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()


class _StatusCache:
    """The last answer of `ask` for a conflist. Status is polled every few seconds and must not wait for a plugin."""

    def __init__(
        self, ask: Callable[[Conflist], Coroutine[Any, Any, NetworkStatus]], interval_s: float, tasks: Tasks
    ) -> None:
        self._ask, self._interval_s, self._tasks = ask, interval_s, tasks
        self._running: asyncio.Task[None] | None = None
        self._about: Conflist | None = None
        self._answer = NetworkStatus(ready=False)
        self._answered_at = 0.0

    async def get(self, conflist: Conflist) -> NetworkStatus:
        """The answer if it is fresh; else ask again, and wait a little for that."""
        known = self._about == conflist
        if known and time.monotonic() - self._answered_at < self._interval_s:
            return self._answer
        if self._running is None or self._running.done():
            self._running = self._tasks.start(self._refresh(conflist), name="CNI STATUS")
        await asyncio.wait({self._running}, timeout=_STATUS_PATIENCE_S)
        if self._about == conflist:
            return self._answer
        message = f"network {conflist.name!r} ({conflist.file}): its plugins have not answered STATUS yet"
        return NetworkStatus(ready=False, reason=_NOT_READY, message=message)

    async def _refresh(self, conflist: Conflist) -> None:
        answer = await self._ask(conflist)
        self._about, self._answer, self._answered_at = conflist, answer, time.monotonic()
