"""The directory of one played pod: its volumes, logs and small files.

STATE/NAMESPACE_NAME/      0700, so that nobody meets a setuid file that a container left
    volumes/NAME           emptyDir, or files of a ConfigMap
    logs/CONTAINER/0.log   written by the runtime
    termination/CONTAINER  mounted as the container's terminationMessagePath
    hosts                  mounted at /etc/hosts
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from podwright.base.errors import FailedPrecondition, PermissionDenied
from podwright.base.files import remove_tree, write_plain
from podwright.cli.manifest.cri_pod import etc_hosts
from podwright.cli.manifest.facts import Host, Instance
from podwright.cli.manifest.model import ConfigMaps, HostPath, Pod
from podwright.cli.playing.volumes import make_volume
from podwright.linux import mounts


@dataclass(frozen=True)
class PodDirectory:
    """Where one pod's things lie."""

    path: Path

    @classmethod
    def of(cls, state_dir: Path, pod: Pod) -> PodDirectory:
        """The directory of `pod`. Neither part of the name may contain an underscore, so it is unique."""
        return cls(state_dir.absolute() / f"{pod.namespace}_{pod.name}")

    def instance(self, pod: Pod, uid: str) -> Instance:
        """The paths as the translation needs them; nothing is made."""
        return Instance(
            uid=uid,
            log_directory=self.path / "logs",
            volumes={
                volume.name: Path(volume.source.path)
                if isinstance(volume.source, HostPath)
                else self.path / "volumes" / volume.name
                for volume in pod.volumes
            },
            hosts=self.path / "hosts",
            termination_logs={c.name: self.path / "termination" / c.name for c in pod.all_containers},
        )

    def create(self, pod: Pod, instance: Instance, config_maps: ConfigMaps, host: Host) -> None:
        """Make all of it but the hosts file. Raises PermissionDenied, and InvalidArgument for a wrong hostPath."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700)
        except PermissionError as error:
            raise PermissionDenied(
                f"not allowed to write to {self.path.parent}: run as root, or use --state-dir"
            ) from error
        for directory in ("volumes", "logs", "termination"):
            (self.path / directory).mkdir(mode=0o755)
        for container in pod.all_containers:
            (instance.log_directory / container.name).mkdir(mode=0o755)
            # Whoever the container runs as may write its last words; nobody else can get at the file.
            write_plain(instance.termination_logs[container.name], b"", mode=0o666)
        for volume in pod.volumes:
            make_volume(volume, instance.volumes[volume.name], config_maps, host, pod.security.fs_group)

    def write_hosts(self, pod: Pod, host: Host, instance: Instance) -> None:
        """The pod's /etc/hosts, once its addresses are known."""
        write_plain(instance.hosts, etc_hosts(pod, host, instance.ips).encode(errors="surrogateescape"))

    def remove(self) -> bool:
        """Unmount and remove all of it; False when there was nothing."""
        if not os.path.lexists(self.path):
            return False
        mounts.unmount_tree(self.path)
        if left := mounts.mounts_under(self.path):
            raise FailedPrecondition(f"{left[-1].target} can't be unmounted, so {self.path} is left as it is")
        remove_tree(self.path)
        return True
