"""The content store: every blob once, under its digest. `image/` and `registry/` call it; it knows no images.

    root/blobs/<algorithm>/<hex>         verified, complete, never changed again
    root/ingest/<algorithm>-<hex>        the beginning of a blob that is on its way

What may be deleted is the caller's to know. https://github.com/opencontainers/image-spec, image-layout.md, "Blobs".
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from podwright.base.errors import Internal, NotFound, ResourceExhausted
from podwright.base.locks import KeyedLocks
from podwright.base.log import get_logger
from podwright.content.ingest import DigestMismatch, Ingest
from podwright.oci.digest import Digest, digest_algorithm, digest_hex, digest_of, is_digest

log = get_logger(__name__)


class ContentStore:
    """All methods are called from the event loop's thread; the sync ones take microseconds on a local disk."""

    def __init__(self, root: Path) -> None:
        self._blobs, self._ingests = root / "blobs", root / "ingest"
        for directory in (self._blobs / "sha256", self._blobs / "sha512", self._ingests):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._locks = KeyedLocks()
        self._running: dict[Digest, Ingest] = {}

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._blobs / digest_algorithm(digest) / digest_hex(digest)

    def has(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def size(self, digest: Digest) -> int:
        """In bytes. Raises NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"content {digest} is not in the store") from None

    def read(self, digest: Digest, *, limit_bytes: int) -> bytes:
        """A small blob, verified again, because a disk may have lost it since.

        Raises NotFound, ResourceExhausted beyond `limit_bytes`, DigestMismatch for a damaged one.
        """
        if (size := self.size(digest)) > limit_bytes:
            raise ResourceExhausted(f"content {digest} has {size} bytes; at most {limit_bytes} are read here")
        data = self.path(digest).read_bytes()
        if (got := digest_of(data, digest_algorithm(digest))) != digest:
            raise DigestMismatch(digest, got, f"the stored file {self.path(digest)}")
        return data

    async def put(self, data: bytes, *, algorithm: str = "sha256") -> Digest:
        """Store a small blob durably; one that is there already is success."""
        digest = digest_of(data, algorithm)
        ingest = await self.open_ingest(digest, len(data))
        try:
            if not ingest.committed:
                await ingest.write(data[ingest.received :])
                await ingest.commit(source=f"content {digest}")
        finally:
            await ingest.close()
        return digest

    async def open_ingest(self, digest: Digest, size: int) -> Ingest:
        """Become the one writer of a blob of `size` bytes, waiting for the present one to be done.

        The caller looks at `committed` first: the blob may be there already. Raises ResourceExhausted.
        """
        if not is_digest(digest):
            raise Internal(f"{digest!r} was not parsed before it came to the content store")
        held = AsyncExitStack()
        await held.enter_async_context(self._locks.hold(digest))

        async def release() -> None:
            self._running.pop(digest, None)
            await held.aclose()

        ingest = Ingest(digest, size, self._partial(digest), self.path(digest), release)
        try:
            await ingest.start()
        except BaseException:
            await ingest.close()
            raise
        self._running[digest] = ingest
        if ingest.received and not ingest.committed:
            log.info("resuming a download", digest=digest, have_bytes=ingest.received, size=size)
        return ingest

    def running(self, digest: Digest) -> Ingest | None:
        """The ingest that is writing this blob now, for whoever wants to follow it."""
        return self._running.get(digest)

    def delete(self, digest: Digest) -> None:
        """Remove a blob; an absent one is success. Descriptors that are open on it stay good."""
        self.path(digest).unlink(missing_ok=True)

    def forget_partial(self, digest: Digest) -> None:
        """Delete the beginning of a blob; while somebody still writes it, it goes when that ends without the whole."""
        if (running := self._running.get(digest)) is not None:
            running.keeps_partial = False
        else:
            self._partial(digest).unlink(missing_ok=True)

    def _partial(self, digest: Digest) -> Path:
        return self._ingests / f"{digest_algorithm(digest)}-{digest_hex(digest)}"

    def digests(self) -> list[Digest]:
        """All blobs that are complete."""
        return [
            Digest(f"{directory.name}:{entry.name}")
            for directory in self._blobs.iterdir()
            for entry in directory.iterdir()
            if is_digest(f"{directory.name}:{entry.name}")
        ]

    def sweep_ingests(self, *, older_than_s: float) -> int:
        """Delete partial files that nobody has written to for so long; returns how many."""
        writing = {self._partial(digest).name for digest in self._running}
        swept = 0
        for entry in self._ingests.iterdir():
            if entry.name not in writing and time.time() - entry.stat().st_mtime > older_than_s:
                entry.unlink(missing_ok=True)
                swept += 1
        return swept
