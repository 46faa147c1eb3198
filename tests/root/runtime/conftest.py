"""The fixtures `bench` (crun and runc in turn), `handler` and `rootfs`."""

from __future__ import annotations

from tests.support.container_fixtures import bench, handler, rootfs

__all__ = ["bench", "handler", "rootfs"]
