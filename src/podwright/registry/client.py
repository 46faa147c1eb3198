"""The registry client: manifests and blobs of the distribution API, from mirrors and the registry itself.

`image/pull` calls it. It knows nothing of platforms, layers or what is unpacked when.
https://github.com/opencontainers/distribution-spec, spec.md, "Pull".
"""

from __future__ import annotations

from collections.abc import Callable

from podwright.content.ingest import Ingest
from podwright.content.store import ContentStore
from podwright.oci.digest import Digest
from podwright.oci.image import Descriptor
from podwright.oci.reference import Reference
from podwright.registry.base import Credentials, FetchedManifest, Settings


class RegistryClient:
    """One a daemon. Safe for any number of concurrent calls; `close` ends its connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def resolve_manifest(
        self,
        reference: Reference,
        *,
        credentials: Credentials | None = None,
        known: Callable[[Digest], bytes | None] | None = None,
    ) -> FetchedManifest:
        """What the reference's digest or tag names now. The answer is verified, the media type only announced.

        Every call asks a registry with these very credentials, so success proves that they may pull the image.
        `known` gives the bytes of a manifest that is stored already: then a HEAD request may be all it takes.

        Raises ManifestUnknown, AuthenticationFailed, RegistryUnavailable, RateLimited, DigestMismatch,
        InvalidArgument (a hosts.toml that can't be used).
        """
        raise NotImplementedError

    async def fetch_manifest(
        self, reference: Reference, descriptor: Descriptor, *, credentials: Credentials | None = None
    ) -> FetchedManifest:
        """The manifest or index that `descriptor` names, in the reference's repository. Raises as above."""
        raise NotImplementedError

    async def fetch_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        content: ContentStore,
        *,
        credentials: Credentials | None = None,
        on_bytes: Callable[[int], None] | None = None,
        on_ingest: Callable[[Ingest], None] | None = None,
    ) -> None:
        """Bring a blob into `content`; returns when it is verified and durable, at once if it is there.

        `on_bytes` gets the number of bytes that arrived, a call a chunk; bytes found in a partial file are told in
        the first call. `on_ingest` gets the ingest to follow, before the first byte of this attempt; it is called
        again with another one when the blob must be fetched afresh, and never when the blob is there already.
        Concurrent calls for one digest download it once. Cancelling keeps the partial file for the next call.

        Raises BlobUnknown and what resolve_manifest raises.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """End all connections."""
