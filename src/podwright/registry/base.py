"""What the registry room speaks of: settings, credentials, and the errors a pull can end with. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from podwright.base.errors import InvalidArgument, NotFound, PrefixedError, ResourceExhausted, Unauthenticated
from podwright.oci.image import Descriptor

_DOCKER_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Settings:
    """`[registry]`"""

    config_path: tuple[Path, ...] = field(
        default=(Path("/etc/podwright/certs.d"), Path("/etc/containerd/certs.d"), Path("/etc/docker/certs.d")),
        metadata={
            "help": "Directories with one directory a registry (HOST, HOST_PORT_ or _default) that holds hosts.toml,\n"
            "or certificates. They are read at every pull. The first that has the registry's directory counts."
        },
    )
    auth_files: tuple[Path, ...] = field(
        default=(
            Path("/etc/podwright/auth.json"), Path("/run/containers/0/auth.json"),
            Path("/root/.config/containers/auth.json"), Path("/root/.docker/config.json"),
        ),
        metadata={
            "help": "The node's own credentials (auth.json, Docker's config.json), for pulls that bring none.\n"
            "They are read at every pull. The first that knows the registry counts."
        },
    )  # fmt: skip
    max_concurrent_downloads: int = field(
        default=6, metadata={"help": "How many blobs are downloaded at a time, over all pulls.", "min": 1}
    )
    max_connections_per_blob: int = field(
        default=3,
        metadata={
            "help": "How many parts of one big blob are downloaded at a time, where the registry serves parts;\n"
            "1: one after the other.",
            "min": 1,
        },
    )
    progress_timeout_s: float = field(
        default=60.0, metadata={"help": "A download that brings no byte for so many seconds is broken off.", "above": 0}
    )
    connect_timeout_s: float = field(
        default=15.0, metadata={"help": "How many seconds a connection to a registry may take to be made.", "above": 0}
    )
    retries: int = field(
        default=5, metadata={"help": "How often a request that failed by no fault of its own is made again.", "min": 0}
    )


@dataclass(frozen=True)
class Credentials:
    """What proves who pulls. `server_address`: the one registry they are for; "" means the image's own.

    Its text never shows a secret, so it may stand in a log or a traceback.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    server_address: str = ""

    @property
    def empty(self) -> bool:
        return not (self.username or self.password or self.identity_token or self.registry_token)

    @property
    def host(self) -> str:
        """The registry of `server_address`, as references name it ("docker.io", "host:port"); "": the image's own."""
        address = self.server_address.strip()
        if not address:
            return ""
        host = urlsplit(address if "://" in address else f"//{address}").netloc.rpartition("@")[2].lower()
        return "docker.io" if host in _DOCKER_HOSTS else host

    @property
    def fingerprint(self) -> str:
        """Tells these credentials from others in a cache, and tells nobody what they are.

        The address counts: the same password for another registry opens other doors.
        """
        parts = (self.username, self.password, self.identity_token, self.registry_token, self.server_address)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def __repr__(self) -> str:
        kinds = [name for name in ("password", "identity_token", "registry_token") if getattr(self, name)]
        return f"Credentials({self.username or 'anonymous'!r} with {' and '.join(kinds) or 'nothing'})"

    __str__ = __repr__


def make_credentials(
    *, username: str = "", password: str = "", auth: str = "", identity_token: str = "", registry_token: str = "",
    server_address: str = "",
) -> Credentials | None:  # fmt: skip
    """Credentials from the fields of the CRI's AuthConfig, or of an auth.json; None when they hold nothing.

    `auth` is base64 of "username:password" and fills in what the plain fields leave out. Raises InvalidArgument.
    """
    if auth and not username:
        username, password = decode_basic(auth)
    made = Credentials(username, password, identity_token, registry_token, server_address)
    return None if made.empty else made


def decode_basic(auth: str) -> tuple[str, str]:
    """Username and password from base64; padding may be missing or, as old Docker clients wrote it, be NUL bytes."""
    try:
        plain = base64.b64decode(auth + "=" * (-len(auth) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise InvalidArgument("the registry credentials' auth is not base64 of username:password") from None
    username, colon, password = plain.partition(":")
    if not colon:
        raise InvalidArgument("the registry credentials' auth is not base64 of username:password")
    return username, password.rstrip("\0")


@dataclass(frozen=True)
class FetchedManifest:
    """A manifest's bytes, verified against `descriptor.digest`, and who gave them."""

    descriptor: Descriptor
    data: bytes
    endpoint: str


class RegistryUnavailable(PrefixedError):
    """The registry can't be reached or fails; asking again may help. The kubelet knows it by its first word."""

    def __init__(self, message: str) -> None:
        super().__init__("RegistryUnavailable", message)


class Stalled(RegistryUnavailable):
    """A connection that is open brings nothing any more."""


class BadRegistryAnswer(PrefixedError):
    """The registry, or something in its place, answers what no registry may; asking again won't help."""

    def __init__(self, message: str) -> None:
        super().__init__("RegistryUnavailable", message)


class AuthenticationFailed(Unauthenticated):
    """The registry refuses these credentials, or wants some and got none. Final for these credentials."""


class ManifestUnknown(NotFound):
    """The registry has no such image, tag or digest."""


class BlobUnknown(NotFound):
    """The registry has the manifest but not a blob that it names."""


class RateLimited(ResourceExhausted):
    """The registry asks for a pause. `retry_after_s`: how long; 0 when it doesn't say."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
