"""What is kept, and the sweep of all else.

A blob or layer is kept while an image refers to it or a lease holds it, and a layer also while a container stands on
it (the snapshotter knows). Whatever is neither is garbage: after a removal, a failed pull, a crash. A lease holds what
a pull brings in before there is a record. When the pull was broken off, the lease holds for a while longer, because the
kubelet will ask again; when it failed for a reason that stays, or for want of space, nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from podwright.base.errors import Cancelled, DeadlineExceeded, Unavailable
from podwright.base.log import get_logger
from podwright.content.store import ContentStore
from podwright.image.store import ImageStore
from podwright.oci.digest import Digest
from podwright.registry.base import RateLimited, RegistryUnavailable
from podwright.snapshot.base import LayerStore

log = get_logger(__name__)
_LINGER_S = 600.0
# Asking again may help after these, and then finds what has come already.
_BROKEN_OFF = (
    asyncio.CancelledError, Cancelled, Unavailable, DeadlineExceeded, RegistryUnavailable, RateLimited,
)  # fmt: skip
_PARTIAL_MAX_AGE_S = 24 * 3600.0


@dataclass(eq=False)
class Lease:
    """What one piece of work needs kept. It may grow while the work goes on."""

    blobs: set[Digest] = field(default_factory=set)
    chain: list[Digest] = field(default_factory=list)
    until: float = float("inf")


class Collector:
    """Leases, and `sweep`. Called from the event loop's thread; nothing comes between the look and the deed."""

    def __init__(self, images: ImageStore, content: ContentStore, layers: LayerStore) -> None:
        self._images, self._content, self._layers = images, content, layers
        self._leases: set[Lease] = set()

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Hold until the block ends; when it was broken off, some minutes longer."""
        lease = Lease()
        self._leases.add(lease)
        try:
            yield lease
        except _BROKEN_OFF:
            lease.until = time.monotonic() + _LINGER_S
            raise
        except BaseException:
            self._leases.discard(lease)
            for digest in lease.blobs:
                self._content.forget_partial(digest)
            self.sweep()
            raise
        self._leases.discard(lease)

    def sweep(self) -> None:
        """Delete what nothing refers to."""
        now = time.monotonic()
        self._leases = {lease for lease in self._leases if lease.until > now}
        images = self._images.list()
        kept = {digest for record in images for digest in record.blobs}
        kept |= {digest for lease in self._leases for digest in lease.blobs}
        gone = [digest for digest in self._content.digests() if digest not in kept]
        for digest in gone:
            # Unlinking a big file takes the disk a while; this takes microseconds.
            self._layers.discard(self._content.path(digest))
        chains = [record.diff_ids for record in images] + [lease.chain for lease in self._leases]
        layers = self._layers.collect(chains)
        partial = self._content.sweep_ingests(older_than_s=_PARTIAL_MAX_AGE_S)
        if gone or layers or partial:
            log.info("swept", blobs=len(gone), layers=layers, partial_downloads=partial)

    def release_failed(self) -> None:
        """Let go of what broken-off pulls left, for a sweep that frees all it can."""
        for lease in [lease for lease in self._leases if lease.until != float("inf")]:
            self._leases.discard(lease)
            for digest in lease.blobs:
                self._content.forget_partial(digest)
