"""Containers without the daemon: a runtime, a monitor, bundles made from a real specification, and their removal."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from podwright.base.files import remove_tree, write_plain
from podwright.cgroup.base import Settings as CgroupSettings
from podwright.cgroup.detect import cgroup_driver
from podwright.container.spec.build import Built, build_container_spec, encode
from podwright.container.spec.facts import ImageFacts, SandboxFacts
from podwright.container.spec.inspect import host_facts, inspect_request
from podwright.criapi import api_pb2 as pb
from podwright.monitor.base import Launch, Monitor, Monitored
from podwright.monitor.base import Settings as MonitorSettings
from podwright.monitor.conmon import Conmon
from podwright.oci.runtime_spec import Process
from podwright.runtime.base import ExecRequest, Runtime
from podwright.runtime.handlers import Handlers
from podwright.runtime.handlers import Settings as RuntimeSettings
from tests.support import names
from tests.support.rootfs import GROUP, PASSWD


def container_config(
    *command: str, name: str = "c", environment: Mapping[str, str] | None = None
) -> pb.ContainerConfig:
    """A request as the kubelet would send it, with its own PID namespace and the default seccomp profile."""
    config = pb.ContainerConfig(metadata=pb.ContainerMetadata(name=name), command=command)
    for key, value in (environment or {}).items():
        config.envs.add(key=key, value=value.encode())
    config.linux.security_context.namespace_options.pid = pb.CONTAINER
    config.linux.security_context.seccomp.profile_type = pb.SecurityProfile.RuntimeDefault
    return config


class Bench:
    """A runtime and a monitor in a directory of the test's; `close` removes every container it made."""

    def __init__(self, directory: Path, rootfs: Path, handler: str) -> None:
        self.directory, self.rootfs, self.handler = directory, rootfs, handler
        self.exits, self.bundles = directory / "exits", directory / "bundles"
        for path in (self.exits, self.bundles):
            path.mkdir(parents=True)
        self.handlers = Handlers(RuntimeSettings(), directory / "runtime")
        self.runtime: Runtime = self.handlers.runtime(handler)
        self.monitor: Monitor = Conmon(MonitorSettings(create_timeout_s=30), self.exits)
        self.cgroups = cgroup_driver(CgroupSettings(driver="cgroupfs"))
        self.parent = names.cgroup()
        self.made = self.cgroups.create_parent(self.parent)
        self.host = host_facts(unified_cgroups=False, recursive_read_only=True, compiled_seccomp=handler == "crun")
        self._containers: dict[str, Monitored | None] = {}

    def build(self, container_id: str, config: pb.ContainerConfig, *, sandbox: SandboxFacts | None = None) -> Built:
        return build_container_spec(
            config=config,
            sandbox=sandbox or SandboxFacts(id="s" * 64, name="pod", namespace="ns", uid="uid", privileged=True),
            image=ImageFacts(),
            rootfs=self.rootfs,
            container_id=container_id,
            cgroups_path=self.cgroups.container_path(self.parent, container_id),
            passwd=PASSWD,
            group=GROUP,
            host=self.host,
            request=inspect_request(config, self.host),
        )

    def bundle(self, container_id: str, config: pb.ContainerConfig, *, sandbox: SandboxFacts | None = None) -> Path:
        bundle = self.bundles / container_id
        bundle.mkdir()
        built = self.build(container_id, config, sandbox=sandbox)
        for missing in built.missing_host_directories:
            missing.mkdir(parents=True)
        write_plain(bundle / "config.json", encode(built.spec))
        self._containers[container_id] = None
        return bundle

    async def create(
        self,
        config: pb.ContainerConfig,
        *,
        log: Path | None = None,
        sandbox: SandboxFacts | None = None,
    ) -> Monitored:
        container_id = names.unique("c")
        bundle = self.bundle(container_id, config, sandbox=sandbox)
        monitored = await self.monitor.create(
            Launch(
                container_id=container_id, name=config.metadata.name, bundle=bundle, command=self.runtime.command,
                log_path=log, stdin=config.stdin, stdin_once=config.stdin_once, terminal=config.tty,
            )
        )  # fmt: skip
        self._containers[container_id] = monitored
        return monitored

    async def run(self, *command: str, log: Path | None = None, config: pb.ContainerConfig | None = None) -> Monitored:
        monitored = await self.create(config or container_config(*command), log=log)
        await self.runtime.start(monitored.container_id)
        return monitored

    def process(self, monitored: Monitored, args: Sequence[str]) -> Process:
        """The container's process with another command, as an exec has it."""
        process = self.build(monitored.container_id, container_config(*args)).spec.process
        process.args = list(args)
        return process

    def exec_request(
        self, monitored: Monitored, *args: str, timeout_s: float | None = 30, drain_timeout_s: float = 1.0,
        limit: int = 1024 * 1024,
    ) -> ExecRequest:  # fmt: skip
        return ExecRequest(
            monitored.container_id, self.process(monitored, args), timeout_s=timeout_s,
            drain_timeout_s=drain_timeout_s, output_limit_bytes=limit,
        )  # fmt: skip

    async def remove(self, container_id: str) -> None:
        monitored = self._containers.pop(container_id, None)
        if monitored is not None:
            await self.runtime.kill(container_id, signal.SIGKILL)
            await self.monitor.wait_exit(monitored)
        await self.monitor.abandon(container_id, self.bundles / container_id)
        await self.runtime.delete(container_id, force=True)
        await self.cgroups.discard(self.cgroups.kernel_path(self.parent, container_id))
        remove_tree(self.bundles / container_id)

    async def close(self) -> None:
        for container_id in list(self._containers):
            await self.remove(container_id)
        assert self.cgroups.remove(self.made) == ()
        assert os.listdir(self.exits) == []
