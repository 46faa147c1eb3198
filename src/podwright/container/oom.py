"""Whether a container ended because the kernel killed it for want of memory.

The counter of its own cgroup tells, as long as there is one: systemd removes a scope with its last process, and may be
faster than the monitor and we. Then the pod's counter tells, which on cgroup v2 goes on counting for cgroups that are
gone: what it has more than the pod's living containers, and more than at the last look, is the dead one's.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from podwright.container.collaborators import Collaborators
from podwright.container.model import Container


class OomKills:
    """`watch` when a container is created or found again, `killed` when it has ended."""

    def __init__(self, on: Collaborators) -> None:
        self._on = on
        self._counted: dict[str, int] = {}

    def watch(self, container: Container) -> None:
        """Take what the pod counts now for settled, unless it is known already."""
        pod = _pod_of(container)
        if self._on.cgroups.naming == "systemd" and pod not in self._counted:
            self._counted[pod] = self._of_the_dead(container)

    def killed(self, container: Container) -> bool:
        """To be asked once for every end, whatever its exit code: it settles the pod's count."""
        own = self._on.cgroups.oom_kills(container.record.cgroup)
        if own is not None:
            return own > 0
        pod, now = _pod_of(container), self._of_the_dead(container)
        before = self._counted.get(pod, now)
        self._counted[pod] = now
        return now > before

    def forget(self, container: Container) -> None:
        """The container is being removed; the pod's last one takes the count along."""
        if self._siblings(container) in ([], [container]):
            self._counted.pop(_pod_of(container), None)

    def _of_the_dead(self, container: Container) -> int:
        kills = self._on.cgroups.oom_kills
        alive = sum(kills(sibling.record.cgroup) or 0 for sibling in self._siblings(container))
        return (kills(_pod_of(container)) or 0) - alive

    def _siblings(self, container: Container) -> list[Container]:
        return self._on.containers.of_sandbox(container.record.sandbox_id)


def _pod_of(container: Container) -> str:
    """The cgroup above the container's scope; crun has the container's processes in a cgroup below its scope."""
    own = PurePosixPath(container.record.cgroup)
    scope = next((path for path in (own, *own.parents) if path.suffix == ".scope"), own)
    return str(scope.parent)
