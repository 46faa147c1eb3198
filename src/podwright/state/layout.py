"""Every path that Podwright owns, named once.

`root` holds what survives a boot (images, layers, container file systems, the database), `run` what a boot clears
(pinned namespaces, bundles, pod files). All directories are 0700, so nobody but root reaches a setuid file in
somebody's root file system (CVE-2021-41103, CVE-2024-25621). Where a pod has a user namespace, the root of that
namespace has to pass through to its own bundles, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The two roots. Paths of one sandbox or container take its full id."""

    root: Path
    run: Path

    def create(self) -> None:
        """Make the directories, with modes that keep other users out; existing ones are tightened."""
        for path in (
            self.root, self.run, self.content, self.snapshots, self.trash,
            self.sandboxes, self.containers, self.image_volumes, self.exits, self.runtime_roots,
        ):  # fmt: skip
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)

    def open_to_namespaces(self) -> None:
        """Let the root of a user namespace pass (not look) through to its own pod's and containers' directories."""
        for path in (self.run, self.sandboxes, self.containers):
            path.chmod(0o711)

    def closed_parent(self) -> Path | None:
        """A directory above the run directory that only its owner can pass through; None when there is none."""
        return next((path for path in self.run.resolve().parents if not path.stat().st_mode & 0o001), None)

    @property
    def lock(self) -> Path:
        return self.root / "daemon.lock"

    @property
    def database(self) -> Path:
        return self.root / "state.db"

    @property
    def content(self) -> Path:
        """Blobs by digest; `content/store.py` owns the inside."""
        return self.root / "content"

    @property
    def snapshots(self) -> Path:
        """Layers and container file systems; `snapshot/` owns the inside."""
        return self.root / "snapshots"

    @property
    def trash(self) -> Path:
        """Trees that are being deleted in the background; emptied at start."""
        return self.root / "trash"

    @property
    def spool(self) -> Path:
        """Image archives on their way to or from a Docker Engine; emptied at start."""
        return self.root / "spool"

    @property
    def checkpoints(self) -> Path:
        """What checkpoints under way have on disk; `container/checkpoint/` owns the inside."""
        return self.root / "checkpoints"

    def checkpoint(self, checkpoint_id: str) -> Path:
        return self.checkpoints / checkpoint_id

    @property
    def restores(self) -> Path:
        """CRIU's image files of containers that were restored and have not been started yet."""
        return self.root / "restores"

    def restore(self, container_id: str) -> Path:
        return self.restores / container_id

    @property
    def sandboxes(self) -> Path:
        return self.run / "sandboxes"

    @property
    def containers(self) -> Path:
        return self.run / "containers"

    @property
    def image_volumes(self) -> Path:
        """Images that containers mount as volumes, each mounted once; `container/image_volumes.py` owns the inside."""
        return self.run / "image-volumes"

    @property
    def exits(self) -> Path:
        """Where monitors write a container's exit code, in a file named by its id."""
        return self.run / "exits"

    @property
    def runtime_roots(self) -> Path:
        """State directories of the OCI runtimes, one a handler."""
        return self.run / "runtime"

    @property
    def shims(self) -> Path:
        """What the daemon keeps of containerd's shims; `shim/` owns the inside."""
        return self.run / "shims"

    def sandbox(self, sandbox_id: str) -> Path:
        return self.sandboxes / sandbox_id

    def sandbox_bundle(self, sandbox_id: str) -> Path:
        """The OCI bundle of the pod's sandbox container; named by its id, as containerd's shims want it."""
        return self.sandbox(sandbox_id) / sandbox_id

    def namespace(self, sandbox_id: str, kind: str) -> Path:
        """Where the pod's namespace `kind` (net, ipc, uts, user) is pinned."""
        return self.sandbox(sandbox_id) / f"{kind}ns"

    def shm(self, sandbox_id: str) -> Path:
        return self.sandbox(sandbox_id) / "shm"

    def pod_file(self, sandbox_id: str, name: str) -> Path:
        """hosts, hostname or resolv.conf of the pod."""
        return self.sandbox(sandbox_id) / name

    def bundle(self, container_id: str) -> Path:
        """The OCI bundle: config.json, rootfs (the mount point), and the monitor's files."""
        return self.containers / container_id

    def rootfs(self, container_id: str) -> Path:
        return self.bundle(container_id) / "rootfs"

    def exit_file(self, container_id: str) -> Path:
        return self.exits / container_id
