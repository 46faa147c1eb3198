"""All plugins: who is connected, in which order they are asked, and what becomes of their answers.

Implements `Plugins`. One request is under way at a time, as upstream keeps it: plugins that look after a node's CPUs
decide one thing after the other. A plugin that connects registers, is configured, is told what there is while nothing
is created, and takes its place; the others are asked meanwhile, and what happens then reaches the new one afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from google.protobuf.message import Message

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, gather_all, in_thread
from podwright.device.edits import Edits
from podwright.nri import nri_pb2 as pb
from podwright.nri import validate
from podwright.nri.adjust import Adjustments
from podwright.nri.base import Event, Node, Refused
from podwright.nri.connection import Connection
from podwright.nri.describe import describe
from podwright.nri.effects import Effects
from podwright.nri.guest import Guest
from podwright.nri.owners import Owners
from podwright.nri.plugin import Plugin
from podwright.nri.resources import from_oci, merge, to_oci
from podwright.nri.sections import Sections
from podwright.nri.settings import Settings
from podwright.nri.spec import adjusted, with_devices
from podwright.nri.updates import Updates
from podwright.oci.runtime_spec import LinuxResources, Spec

log = get_logger(__name__)

CONNECTING_LIMIT = 16
PLUGIN_LIMIT = 100

_METHODS: dict[int, str] = {
    event: "".join(word.title() for word in name.split("_")) for name, event in pb.Event.items()
}
"""Event → method: RUN_POD_SANDBOX is announced by RunPodSandbox."""


@dataclass(frozen=True)
class Host:
    """What the daemon may give to containers (see `nri/spec.py`), and what there is behind names of CDI devices; that
    is looked up in a thread."""

    oom_score_adj_min: int
    may_raise_limits: bool
    cdi_edits: Callable[[list[str]], Edits]


class Hub:
    """`node` and `host` are asked for when they are needed: the backend is composed after this."""

    def __init__(self, settings: Settings, *, version: str, node: Callable[[], Node], host: Callable[[], Host]) -> None:
        self._settings, self._version, self._node, self._host = settings, version, node, host
        self._plugins: list[Plugin] = []
        self._joining: list[Plugin] = []
        self._connecting = 0
        self._turn = asyncio.Lock()
        self._sections = Sections()
        self._tasks = Tasks("nri")
        self._effects = Effects(node, self._tasks)

    # What the verbs call.

    @property
    def active(self) -> bool:
        return bool(self._plugins)

    def section(self) -> AbstractAsyncContextManager[None]:
        return self._sections.shared()

    async def before(self, event: Event, subject: str) -> None:
        if self._plugins or self._joining:
            async with self._turn:
                request = self._request(event, subject)
                for plugin in self._asked():
                    await self._tell(plugin, event, request)
                self._remember(event, request)

    async def after(self, event: Event, subject: str) -> None:
        if self._plugins or self._joining:
            try:
                await self._announce(event, subject)
            except Exception:
                # What happened has happened: nobody's fault here may make the caller think otherwise.
                log.exception("NRI plugins could not be told of an event", what=event.name, subject=subject[:13])

    async def _announce(self, event: Event, subject: str) -> None:
        updates = Updates(Owners())
        async with self._turn:
            request = self._request(event, subject)
            for plugin in self._asked():
                try:
                    answer = await self._tell(plugin, event, request)
                    if isinstance(answer, pb.StopContainerResponse):
                        updates.apply(plugin.name, answer.update)
                except Refused as error:
                    log.warning("an NRI plugin did not like an event", what=event.name, error=str(error))
            self._remember(event, request)
        await self._effects.try_to_carry_out(updates)

    async def create(self, container_id: str, spec: Spec) -> Spec:
        node = self._node()
        if not self._plugins:
            self._check_nobody_missed(node, container_id)
            return spec
        container = node.container(container_id)
        describe(spec, container)
        original = pb.ValidateContainerAdjustmentRequest(pod=node.pod(container.pod_sandbox_id), container=container)
        request = pb.CreateContainerRequest(pod=original.pod, container=container)
        async with self._turn:
            result, asked = Adjustments(request), self._asked()
            for plugin in asked:
                method = _METHODS[pb.CREATE_CONTAINER]
                answer = await plugin.ask(method, pb.CREATE_CONTAINER, request, pb.CreateContainerResponse)
                original.plugins.add(name=plugin.base_name, index=plugin.index)
                if answer is not None:
                    result.apply(plugin.name, answer)
            await self._validate(original, result, asked)
        if not result.total.ByteSize() and not result.updates:
            return spec
        wanted = await self._adjusted(spec, result.total)
        await self._effects.carry_out(result.updates)
        return wanted

    async def _adjusted(self, spec: Spec, adjust: pb.ContainerAdjustment) -> Spec:
        host = self._host()
        if names := [device.name for device in adjust.CDI_devices]:
            spec = with_devices(spec, await in_thread(host.cdi_edits, names))
        minimum, may_raise = host.oom_score_adj_min, host.may_raise_limits
        return adjusted(spec, adjust, oom_score_adj_min=minimum, may_raise_limits=may_raise)

    async def update(self, container_id: str, resources: LinuxResources) -> LinuxResources:
        if not self._plugins:
            return resources
        node = self._node()
        container = node.container(container_id)
        request = pb.UpdateContainerRequest(
            pod=node.pod(container.pod_sandbox_id), container=container, linux_resources=from_oci(resources)
        )
        updates = Updates(Owners())
        async with self._turn:
            for plugin in self._asked():
                method = _METHODS[pb.UPDATE_CONTAINER]
                answer = await plugin.ask(method, pb.UPDATE_CONTAINER, request, pb.UpdateContainerResponse)
                if answer is not None:
                    updates.apply(plugin.name, answer.update, answer.evict)
                    if (own := updates.by_container.get(container_id)) is not None:
                        merge(own.linux.resources, request.linux_resources, Owners(), container_id, plugin.name)
        updates.by_container.pop(container_id, None)
        wanted = to_oci(request.linux_resources)
        await self._effects.carry_out(updates)
        return wanted

    async def update_pod(self, sandbox_id: str, overhead: LinuxResources, resources: LinuxResources) -> None:
        if not self._plugins:
            return
        request = pb.UpdatePodSandboxRequest(
            pod=self._node().pod(sandbox_id), overhead_linux_resources=from_oci(overhead),
            linux_resources=from_oci(resources),
        )  # fmt: skip
        async with self._turn:
            for plugin in self._asked():
                method = _METHODS[pb.UPDATE_POD_SANDBOX]
                await plugin.ask(method, pb.UPDATE_POD_SANDBOX, request, pb.UpdatePodSandboxResponse)

    def _asked(self) -> list[Plugin]:
        self._plugins = [plugin for plugin in self._plugins if plugin.connected]
        return list(self._plugins)

    def _request(self, event: Event, subject: str) -> Message:
        node = self._node()
        kind = getattr(pb, f"{_METHODS[event]}Request")
        if event.of_pod:
            request: Message = kind(pod=node.pod(subject))
        else:
            container = node.container(subject)
            request = kind(pod=node.pod(container.pod_sandbox_id), container=container)
        return request

    async def _tell(self, plugin: Plugin, event: int, request: Message) -> Message | None:
        method = _METHODS[event]
        return await plugin.ask(method, event, request, getattr(pb, f"{method}Response"))

    def _remember(self, event: Event, request: Message) -> None:
        for plugin in self._joining:
            plugin.backlog.append((event, request))

    def _check_nobody_missed(self, node: Node, container_id: str) -> None:
        """The rule of required plugins while none is connected: a look at the annotations, for most."""
        annotated = any(key.startswith(validate.REQUIRED_ANNOTATION) for key in node.pod_annotations(container_id))
        if annotated or self._settings.required_plugins:
            container = node.container(container_id)
            validate.check_required(self._settings, node.pod(container.pod_sandbox_id), container.name, [])

    async def _validate(
        self, request: pb.ValidateContainerAdjustmentRequest, result: Adjustments, asked: list[Plugin]
    ) -> None:
        """The built-in rules, then every plugin that wants to. One that was lost while it was asked is missed where it
        is required, and a validator that was, or that fails to answer, is a veto."""
        connected = [plugin.name for plugin in asked if plugin.connected]
        validate.check_required(self._settings, request.pod, request.container.name, connected)
        validate.check(self._settings, request.container, result.owners)
        validators = [plugin for plugin in asked if plugin.wants(pb.VALIDATE_CONTAINER_ADJUSTMENT)]
        if not validators:
            return
        request.adjust.CopyFrom(result.total)
        request.update.extend(result.updates.by_container.values())
        request.owners.CopyFrom(result.owners.message)
        await gather_all(*(self._ask_validator(plugin, request) for plugin in validators), name="validate")

    async def _ask_validator(self, plugin: Plugin, request: pb.ValidateContainerAdjustmentRequest) -> None:
        event = pb.VALIDATE_CONTAINER_ADJUSTMENT
        answer = await plugin.ask(_METHODS[event], event, request, pb.ValidateContainerAdjustmentResponse)
        if answer is None:
            raise Refused(f"NRI validator {plugin.name} did not answer: nothing is created without its word")
        if answer.reject:
            raise Refused(f"NRI validator {plugin.name} rejects the container: {answer.reason or 'no reason given'}")

    # What connections bring.

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, identity: tuple[str, str] | None = None,
        config: str = "", when_settled: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Let a plugin join, and read what it says until it goes. `identity`: index and name of one we started;
        `when_settled` is called when it has joined, or has failed to."""
        if self._connecting >= CONNECTING_LIMIT or len(self._plugins) >= PLUGIN_LIMIT:
            log.warning("an NRI plugin is turned away: too many", connecting=self._connecting)
            writer.transport.abort()
            return
        guest = Guest(identity, self._effects.of_request)
        connection = Connection(reader, writer, guest.methods(), on_close=guest.lost)
        reading = self._tasks.start(connection.run(), name="connection")
        self._connecting += 1
        try:
            await self._join(guest, connection, config)
        except (PodwrightError, TimeoutError) as error:
            words = str(error) or "too much is being created for it to be told of what there is"
            log.warning("an NRI plugin can't join", plugin=guest.name, reason=words)
            connection.close(words)
        finally:
            self._connecting -= 1
            when_settled()
        await asyncio.shield(reading)
        log.info("an NRI plugin has gone", plugin=guest.name, reason=connection.closed)
        self._asked()

    async def _join(self, guest: Guest, connection: Connection, config: str) -> None:
        index, name = await guest.registration(self._settings.registration_timeout_s)
        plugin = guest.plugin = Plugin(index, name, connection, self._settings)
        await plugin.configure(config, self._version)
        async with self._sections.exclusive(timeout_s=self._settings.registration_timeout_s):
            self._joining.append(plugin)
            try:
                pods, containers = self._node().snapshot()
                updates = await plugin.synchronize(pods, containers)
                async with self._turn:
                    await self._catch_up(plugin)
                    self._plugins = sorted([*self._plugins, plugin], key=lambda p: p.index)
            finally:
                self._joining.remove(plugin)
        log.info("an NRI plugin has joined", plugin=plugin.name, order=[p.name for p in self._plugins])
        wanted = Updates(Owners())
        wanted.apply(plugin.name, updates)
        await self._effects.try_to_carry_out(wanted)

    async def _catch_up(self, plugin: Plugin) -> None:
        while plugin.backlog:
            event, request = plugin.backlog.popleft()
            try:
                await self._tell(plugin, event, request)
            except Refused as error:
                log.warning("an NRI plugin did not like an event of the past", error=str(error))

    def __len__(self) -> int:
        """How many plugins are connected."""
        return len(self._asked())

    async def close(self) -> None:
        """Say goodbye to all plugins and end their connections."""
        await gather_all(*(plugin.shut_down() for plugin in self._asked()), name="shut down plugins")
        await self._tasks.close()
