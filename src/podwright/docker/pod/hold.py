"""Sandbox containers hold their pods: when one ends by itself, its pod is no longer ready.

Seen by the kernel's word on the process, not the engine's, so that nothing is missed while the engine restarts.
"""

from __future__ import annotations

import time

from podwright.base.log import get_logger, log_context
from podwright.docker.collaborators import Collaborators
from podwright.linux.pidfd import ProcessIdentity, is_alive, wait_end
from podwright.sandbox.model import Sandbox

log = get_logger(__name__)
ENDED = "its sandbox container ended by itself"


class Holds:
    """One watcher a ready pod."""

    def __init__(self, on: Collaborators) -> None:
        self._on = on

    def alive(self, sandbox: Sandbox) -> bool:
        return bool(sandbox.record.pause_pid) and is_alive(_process(sandbox))

    def watch(self, sandbox: Sandbox) -> None:
        self._on.tasks.start(self._watch(sandbox), name=f"sandbox container of {sandbox.id[:13]}")

    async def _watch(self, sandbox: Sandbox) -> None:
        await wait_end(_process(sandbox))
        with log_context(pod_id=sandbox.id[:13]):
            async with self._on.locks.hold(sandbox.id):
                self.record_end(sandbox)

    def record_end(self, sandbox: Sandbox) -> None:
        """Its network stays its own until somebody stops it: the namespace is pinned."""
        if sandbox.ready and sandbox.id in self._on.sandboxes:
            log.warning("a pod's sandbox container has ended, and the pod with it", pid=sandbox.record.pause_pid)
            self._on.sandboxes.update(sandbox.id, stopped_at=time.time_ns(), ended_because=ENDED)


def _process(sandbox: Sandbox) -> ProcessIdentity:
    return ProcessIdentity(sandbox.record.pause_pid, sandbox.record.pause_start_time)
