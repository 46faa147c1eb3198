"""What the writable layers of containers take on disk, counted in the directory that the engine's graph driver has.

The engine's own count (size=1) walks the layer each time it is asked; this one is `container/disk`'s to call, in the
background. Only overlay2 tells such a directory; with other drivers there is no figure.
"""

from __future__ import annotations

from pathlib import Path

from podwright.base.errors import NotFound
from podwright.docker.answers import Inspected
from podwright.snapshot.base import Usage
from podwright.snapshot.disk_usage import disk_usage


class WritableLayers:
    """The directories by container id."""

    def __init__(self) -> None:
        self._directories: dict[str, Path] = {}

    def learn(self, container_id: str, found: Inspected) -> None:
        if (directory := (found.graph_driver.data or {}).get("UpperDir")) is not None:
            self._directories[container_id] = Path(directory)

    def count(self, container_id: str) -> Usage:
        """Blocks. Raises NotFound where nobody knows."""
        directory = self._directories.get(container_id)
        if directory is None:
            raise NotFound(f"the writable layer of container {container_id[:13]} is not known")
        return disk_usage(directory)

    def forget(self, container_id: str) -> None:
        self._directories.pop(container_id, None)
