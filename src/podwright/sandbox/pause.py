"""The sandbox container: a process that holds a shared PID namespace, for pods that ask for one, or the kernel or
machine that a pod's containers run in, for handlers that want one.

Other pods have none: their namespaces are pinned. The process is catatonit in its pause mode, which reaps what the
pod's containers orphan; its file system holds that one program, read-only. When it ends by itself the pod has ended.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.base.files import remove_tree, write_plain
from podwright.base.log import get_logger, log_context
from podwright.base.tasks import Tasks
from podwright.container.spec.annotations import sandbox_annotations
from podwright.container.spec.userns import oci_mappings
from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from podwright.linux.idmap import IdMaps
from podwright.linux.pidfd import ProcessIdentity, is_alive, wait_end
from podwright.linux.process import find_program
from podwright.monitor.base import Launch, Monitor
from podwright.nri.base import Event
from podwright.oci.runtime_spec import Linux, Mount, Namespace, Process, Root, Spec, User
from podwright.sandbox.collaborators import Collaborators
from podwright.sandbox.facts import sandbox_facts
from podwright.sandbox.model import Sandbox
from podwright.security.seccomp import default_profile, load_profile

log = get_logger(__name__)

PROGRAM = "catatonit"
_OCI_NAMES = {"user": "user", "net": "network", "ipc": "ipc", "uts": "uts"}
_NOBODY = 65535


@dataclass(frozen=True)
class Pause:
    """Starts and removes sandbox containers. A sandbox container has the pod's id as its own."""

    on: Collaborators
    monitor: Monitor
    tasks: Tasks

    def wanted(self, sandbox: Sandbox) -> bool:
        """Whether the pod needs one: its containers share a PID namespace, or its handler wants one."""
        return sandbox.record.sandbox_container or sandbox.namespace_options.pid == pb.POD

    async def start(self, sandbox: Sandbox) -> None:
        """Create and start it. Raises FailedPrecondition when catatonit is not installed."""
        program = find_program(PROGRAM)
        if program is None:
            raise FailedPrecondition(f"a pod with a sandbox container needs {PROGRAM}: install it (Debian: {PROGRAM})")
        bundle = self._bundle(sandbox)
        self._make_rootfs(bundle, program, sandbox.id_maps)
        write_plain(bundle / "config.json", msgspec.json.encode(self._spec(sandbox)), mode=0o600)
        runtime = self.on.handlers.runtime(sandbox.record.handler)
        command = runtime.command if sandbox.id_maps is None else runtime.command_in_user_namespace
        created = await self.monitor.create(
            Launch(container_id=sandbox.id, name="pause", bundle=bundle, command=command)
        )
        self.on.sandboxes.update(
            sandbox.id, pause_pid=created.process.pid, pause_start_time=created.process.start_time
        )  # fmt: skip
        await runtime.start(sandbox.id)

    def alive(self, sandbox: Sandbox) -> bool:
        """Whether it still runs, for pods that have one."""
        return bool(sandbox.record.pause_pid) and is_alive(_process(sandbox))

    def watch(self, sandbox: Sandbox) -> None:
        """End a ready pod when its sandbox container does; nothing to do for a pod that has none."""
        if self.wanted(sandbox):
            self.tasks.start(self._watch(sandbox), name=f"sandbox container of {sandbox.id[:13]}")

    async def _watch(self, sandbox: Sandbox) -> None:
        await wait_end(_process(sandbox))
        with log_context(pod_id=sandbox.id[:13]):
            async with self.on.locks.hold(sandbox.id):
                if not sandbox.ready or sandbox.id not in self.on.sandboxes:
                    return
                log.warning("a pod's sandbox container has ended, and the pod with it", pid=sandbox.record.pause_pid)
                self.on.sandboxes.update(
                    sandbox.id, stopped_at=time.time_ns(), ended_because="its sandbox container ended by itself"
                )
            await self.on.plugins.after(Event.STOP_POD_SANDBOX, sandbox.id)

    async def remove(self, sandbox: Sandbox) -> None:
        """Kill and forget it; idempotent, and nothing to do for a pod that has none."""
        bundle = self._bundle(sandbox)
        if not self.wanted(sandbox) or not bundle.exists():
            return
        await self.on.handlers.runtime(sandbox.record.handler).delete(sandbox.id, force=True)
        await self.monitor.abandon(sandbox.id, bundle)
        # A runtime that was killed while it created knows nothing of what it left there.
        await self.on.cgroups.discard(self.on.cgroups.kernel_path(sandbox.record.cgroup_parent, sandbox.id))
        mounts.unmount_tree(bundle)
        remove_tree(bundle)

    def _bundle(self, sandbox: Sandbox) -> Path:
        return self.on.layout.sandbox_bundle(sandbox.id)

    def _make_rootfs(self, bundle: Path, program: Path, maps: IdMaps | None) -> None:
        rootfs = bundle / "rootfs"
        for directory in (bundle, rootfs, rootfs / "proc", rootfs / "dev", rootfs / "sys"):
            directory.mkdir(mode=0o755, exist_ok=True)
            if maps is not None:
                os.chown(directory, *maps.root)
        shutil.copyfile(program, rootfs / "pause")
        (rootfs / "pause").chmod(0o755)

    def _spec(self, sandbox: Sandbox) -> Spec:
        namespaces = [Namespace(type="pid"), Namespace(type="mount")]
        namespaces += [
            Namespace(type=_OCI_NAMES[kind], path=str(self.on.layout.namespace(sandbox.id, kind)))
            for kind in sandbox.record.pinned
        ]
        maps = sandbox.id_maps
        user = _NOBODY if maps is None else min(_NOBODY, maps.uids[0].length - 1, maps.gids[0].length - 1)
        runtime, facts = self.on.handlers.runtime(sandbox.record.handler), sandbox_facts(self.on, sandbox)
        allowed = self.on.handlers.settings(sandbox.record.handler).allowed_annotations
        return Spec(
            annotations=sandbox_annotations(facts, allowed=allowed),
            # Elsewhere the pinned UTS namespace has it.
            hostname=sandbox.record.hostname if runtime.own_kernel else "",
            process=Process(
                args=["/pause", "-P"], cwd="/", user=User(uid=user, gid=user), env=["PATH=/"],
                no_new_privileges=True,
            ),
            root=Root(path="rootfs", readonly=True),
            mounts=[Mount(destination="/proc", type="proc", source="proc", options=["nosuid", "noexec", "nodev"])],
            linux=Linux(
                namespaces=namespaces,
                uid_mappings=oci_mappings(maps.uids) if maps else [],
                gid_mappings=oci_mappings(maps.gids) if maps else [],
                cgroups_path=self.on.cgroups.container_path(sandbox.record.cgroup_parent, sandbox.id),
                # Elsewhere the pinned namespaces have them.
                sysctl=dict(sandbox.config.linux.sysctls) if runtime.own_kernel else {},
                seccomp=self._seccomp(sandbox.record.handler),
                masked_paths=["/proc/kcore", "/proc/keys", "/proc/timer_list"],
                readonly_paths=["/proc/sys", "/proc/sysrq-trigger"],
            ),
        )  # fmt: skip

    def _seccomp(self, handler: str) -> msgspec.Raw:
        """What RuntimeDefault means for the handler."""
        file = self.on.handlers.settings(handler).seccomp_profile
        return load_profile(str(file), ()) if file else default_profile((), all_abis=False)


def _process(sandbox: Sandbox) -> ProcessIdentity:
    return ProcessIdentity(sandbox.record.pause_pid, sandbox.record.pause_start_time)
