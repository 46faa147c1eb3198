"""Daemons that run from one test to the next, for those that leave them as they were."""

from __future__ import annotations

import subprocess  # noqa: TID251 - of the daemon's process
from collections.abc import Callable
from pathlib import Path

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, Daemon


class Lender:
    """One running daemon with the busybox image a runtime, started when it is first wanted.

    A test that ends its daemon, or changes its configuration, has it to itself: the next one gets another.
    """

    def __init__(self, new_directory: Callable[[], Path]) -> None:
        self._new_directory = new_directory
        self._running: dict[str, tuple[Daemon, _State]] = {}

    def lend(self, runtime: str) -> Daemon:
        if runtime not in self._running:
            daemon = Daemon(self._new_directory(), runtime=runtime)
            daemon.start()
            daemon.load_hello()
            daemon.remove_pod(daemon.run_pod())  # what stays after the first pod: bridge, cgroup parent
            self._running[runtime] = daemon, _State(daemon)
        return self._running[runtime][0]

    def take_back(self, runtime: str) -> None:
        """Nothing may be left, not even of a pod that the test forgot."""
        daemon, before = self._running[runtime]
        if _State(daemon) != before:
            del self._running[runtime]
            daemon.remove_everything()
            assert daemon.leftovers() == []
            return
        daemon.clear_pods()
        images = {image.id: list(image.repo_tags) for image in daemon.images.ListImages(pb.ListImagesRequest()).images}
        for image, tags in images.items():
            if HELLO not in tags:
                daemon.images.RemoveImage(pb.RemoveImageRequest(image=pb.ImageSpec(image=image)))
        if [HELLO] not in images.values():
            daemon.load_hello()

    def close(self) -> None:
        for daemon, _ in self._running.values():
            daemon.remove_everything()
            assert daemon.leftovers() == []


class _State:
    """What a test may have changed that the next one would see."""

    def __init__(self, daemon: Daemon) -> None:
        self._process: subprocess.Popen[bytes] | None = daemon.process
        self._alive = daemon.process is not None and daemon.process.poll() is None
        self._connected = daemon.channel is not None
        self._files = {path: path.read_bytes() for path in (daemon.config, *daemon.cni_dir.iterdir())}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _State) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]
