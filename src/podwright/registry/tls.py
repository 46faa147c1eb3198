"""TLS to registries: what a registry's configuration asks for, and the contexts made of it, kept while files last."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path

from podwright.base.errors import InvalidArgument


@dataclass(frozen=True)
class Tls:
    """`ca`: roots beside the system's. `client`: (certificate, key) pairs that prove who we are."""

    ca: tuple[Path, ...] = ()
    client: tuple[tuple[Path, Path], ...] = ()
    skip_verify: bool = False

    def anonymous(self) -> Tls:
        """The same trust without our certificate: for another host that this one redirects to."""
        return replace(self, client=())


class TlsContexts:
    """SSL contexts by what they are made of. One context is kept for one `Tls`, so that connections are reused."""

    def __init__(self) -> None:
        self._contexts: dict[Tls, tuple[tuple[int, ...], ssl.SSLContext]] = {}

    def context(self, tls: Tls) -> ssl.SSLContext:
        """Raises InvalidArgument that names the file that can't be used."""
        stamp = tuple(_stamp(path) for path in (*tls.ca, *(path for pair in tls.client for path in pair)))
        kept = self._contexts.get(tls)
        if kept is None or kept[0] != stamp:
            kept = self._contexts[tls] = stamp, _make(tls)
        return kept[1]


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise InvalidArgument(f"certificate file {path} can't be read: {error.strerror}") from error


def _make(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for path in tls.ca:
        try:
            context.load_verify_locations(cafile=path)
        except (ssl.SSLError, OSError) as error:
            raise InvalidArgument(f"{path} holds no certificate authority in PEM form: {error}") from error
    for certificate, key in tls.client:
        try:
            # The callback keeps OpenSSL from asking at the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (ssl.SSLError, OSError) as error:
            raise InvalidArgument(f"{certificate} and {key} are no certificate with its key in PEM: {error}") from error
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
