"""Trees on their way out: gone from their place at once, deleted in the background, also after a crash."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

from podwright.base.files import remove_tree
from podwright.base.ids import random_suffix
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, in_thread

log = get_logger(__name__)
_TRIES, _PAUSE_S = 3, 0.2  # and once more at the next start


class Trash:
    """A directory on the same file system as what goes into it. One tree at a time is deleted, in a thread."""

    def __init__(self, directory: Path, tasks: Tasks) -> None:
        self._directory, self._tasks = directory, tasks
        self._emptying = False

    def put(self, tree: Path) -> None:
        """Move `tree` away; an absent one is success. rename(2) works under a mount, too."""
        try:
            tree.rename(self._directory / f"{tree.name[:64]}-{random_suffix()}")
        except FileNotFoundError:
            return
        self.empty()

    def empty(self) -> None:
        """Delete what is there, in the background."""
        if not self._emptying:
            self._emptying = True
            self._tasks.start(self._empty(), name="empty trash")

    async def _empty(self) -> None:
        failures: Counter[str] = Counter()
        try:
            while names := [name for name in os.listdir(self._directory) if failures[name] < _TRIES]:
                for name in names:
                    try:
                        await in_thread(remove_tree, self._directory / name)
                    except OSError as error:  # somebody who is being killed still writes there, or the disk fails
                        failures[name] += 1
                        log.warning("can't delete a tree", path=str(self._directory / name), error=str(error))
                        await asyncio.sleep(_PAUSE_S)
        finally:
            self._emptying = False
