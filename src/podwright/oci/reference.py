"""Names of images, as people write them and as they are kept.

`busybox` means docker.io/library/busybox:latest. The rules are those of the Docker reference grammar
(github.com/distribution/reference, "Grammar" in reference.go), which crictl, kubelet and every registry share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from podwright.base.errors import InvalidArgument
from podwright.oci.digest import Digest, parse_digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]+))?\Z")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_BARE_ID = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Reference:
    """A normalised name of an image. At least one of `tag` and `digest` is set; a digest decides what is fetched."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The repository: "docker.io/library/busybox"."""
        return f"{self.domain}/{self.path}"

    @property
    def tagged(self) -> str:
        """What is listed among an image's repo_tags: "docker.io/library/busybox:latest"; "" without a tag.

        A tag that stands beside a digest says nothing about where the registry's tag points, so it is no tag.
        """
        return f"{self.name}:{self.tag}" if self.tag and self.digest is None else ""

    @property
    def selector(self) -> str:
        """What a registry is asked for below /manifests/: the digest if there is one, else the tag."""
        return self.digest or self.tag

    @property
    def familiar(self) -> str:
        """The short form that people write: "busybox:latest"."""
        name = self.name
        if self.domain == DEFAULT_DOMAIN and not _looks_like_domain(self.path.partition("/")[0], self.path):
            short = self.path.removeprefix("library/")
            name = self.path if "/" in short else short
        return name + self._suffix()

    def with_digest(self, digest: Digest) -> str:
        """What is listed among an image's repo_digests: "docker.io/library/busybox@sha256:…"."""
        return f"{self.name}@{digest}"

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse_reference(text: str) -> Reference:
    """`text` as a reference: Docker's defaults filled in. Raises InvalidArgument that says what is wrong."""
    if not text:
        raise InvalidArgument("image reference is empty")
    if len(text) > NAME_LIMIT + 300:
        raise InvalidArgument(f"image reference has {len(text)} characters: {text[:60]!r}…")
    if _BARE_ID.match(text):
        raise InvalidArgument(f"image reference {text!r} is an image id, not a name that can be pulled")
    if "://" in text:
        raise InvalidArgument(f"image reference {text!r} must not have a scheme: leave out {text.split('://')[0]}://")
    rest, at, digest_text = text.partition("@")
    digest = _digest(digest_text, text) if at else None
    rest, tag = _split_tag(rest, text)
    domain, path = _split_domain(rest)
    _check_domain(domain, text)
    _check_path(path, text)
    if len(domain) + 1 + len(path) > NAME_LIMIT:
        raise InvalidArgument(f"image reference {text!r}: the name has more than {NAME_LIMIT} characters")
    return Reference(domain, path, tag or ("" if digest else DEFAULT_TAG), digest)


def _digest(digest_text: str, text: str) -> Digest:
    try:
        return parse_digest(digest_text)
    except InvalidArgument as error:
        raise InvalidArgument(f"image reference {text!r}: {error}") from error


def _split_tag(rest: str, text: str) -> tuple[str, str]:
    """A colon after the last slash begins the tag; one before it belongs to a port."""
    slash = rest.rfind("/")
    colon = rest.find(":", slash + 1)
    if colon < 0:
        return rest, ""
    tag = rest[colon + 1 :]
    if not _TAG.match(tag):
        raise InvalidArgument(
            f"image reference {text!r}: tag {tag[:140]!r} must be 1 to 128 letters, digits, '_', '.' or '-', "
            "and not begin with '.' or '-'"
        )
    return rest[:colon], tag


def _split_domain(rest: str) -> tuple[str, str]:
    first, slash, path = rest.partition("/")
    if not slash or not _looks_like_domain(first, rest):
        return DEFAULT_DOMAIN, rest if slash else f"library/{rest}"
    if first in ("docker.io", "index.docker.io"):
        return DEFAULT_DOMAIN, path if "/" in path else f"library/{path}"
    return first, path


def _looks_like_domain(first: str, rest: str) -> bool:
    return first != rest and (any(c in first for c in ".:[") or first == "localhost" or first.lower() != first)


def _check_domain(domain: str, text: str) -> None:
    match = _DOMAIN.match(domain)
    if match is None:
        raise InvalidArgument(f"image reference {text!r}: {domain!r} is no name of a registry (host or host:port)")
    if match["port"] and not 0 < int(match["port"]) < 65536:
        raise InvalidArgument(f"image reference {text!r}: {match['port']} is no port")


def _check_path(path: str, text: str) -> None:
    for component in path.split("/"):
        if not component:
            raise InvalidArgument(f"image reference {text!r}: the repository's name has an empty part")
        if component.lower() != component:
            raise InvalidArgument(f"image reference {text!r}: {component!r} must be lower case")
        if not _COMPONENT.match(component):
            raise InvalidArgument(
                f"image reference {text!r}: {component!r} must be lower-case letters and digits, "
                "separated by one '.', one or two '_', or any number of '-'"
            )
