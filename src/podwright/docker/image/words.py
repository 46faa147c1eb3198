"""What the engine says when a pull fails, and what it means. Pure: text in, an error out.

The engine has one status for most of it, so its words decide; they are its own and those of the registry. What none of
these knows is taken for a registry that can't be used now, which the kubelet asks again. moby 20.10 to 28,
distribution/errors.go; docker/distribution, registry/api/errcode.
"""

from __future__ import annotations

import re

from podwright.base.errors import DataLoss, FailedPrecondition, InvalidArgument, PodwrightError, ResourceExhausted
from podwright.oci.reference import Reference
from podwright.registry.base import AuthenticationFailed, ManifestUnknown, RateLimited, RegistryUnavailable

_LIMIT = 2000
_DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_RATE = re.compile(r"toomanyrequests|too many requests|rate limit", re.IGNORECASE)
_REFUSED = re.compile(
    r"unauthorized|authentication required|no basic auth credentials|pull access denied|\bdenied\b|"
    r"incorrect username or password|forbidden",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(r"manifest unknown|not found|name unknown|does not exist|no matching manifest", re.IGNORECASE)
_DAMAGED = re.compile(r"verification failed|digest (did not|does not) match|invalid checksum", re.IGNORECASE)
_UNPACKING = re.compile(r"failed to register layer|error processing tar|invalid tar header", re.IGNORECASE)
_INVALID = re.compile(r"invalid reference format|unsupported (media type|manifest)|is not supported", re.IGNORECASE)


def pull_failure(reference: Reference, words: str) -> PodwrightError:
    """The error that the engine's `words` make. Credentials are never in them: the engine doesn't repeat those."""
    text = " ".join(words.split())[:_LIMIT] or "it gave no reason"
    whole = f"Docker can't pull {reference}: {text}"
    if _DISK.search(text):
        return ResourceExhausted(whole)
    if _RATE.search(text):
        return RateLimited(whole, 0)
    if _REFUSED.search(text):
        return AuthenticationFailed(whole)
    if _UNKNOWN.search(text) and "no such host" not in text:
        return ManifestUnknown(whole)
    if _DAMAGED.search(text):
        return DataLoss(whole)
    if _UNPACKING.search(text):
        return FailedPrecondition(f"{whole} (before 23.0 it can't unpack layers compressed by zstd)")
    if _INVALID.search(text):
        return InvalidArgument(whole)
    return RegistryUnavailable(whole)
