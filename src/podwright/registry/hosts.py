"""Where a registry's images are really fetched: containerd's `hosts.toml` directories, read at every pull.

A directory of `config_path` holds one directory a registry: `example.com`, `example.com_5000_` or
`example.com:5000`, and `_default` for all that have none. Its hosts.toml names mirrors in order of preference, and
how the registry itself (`server`) is reached; without that file its *.crt, *.cert and *.key count, as Docker has
it. github.com/containerd/containerd, docs/hosts.md.

The file is read strictly: an unknown key or a wrong type is an error with file and line, because a mirror that is
silently ignored is found weeks later.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from podwright.base.errors import InvalidArgument
from podwright.registry.tls import Tls

_UPSTREAMS = {"docker.io": "registry-1.docker.io"}
_CAPABILITIES = ("pull", "resolve", "push", "referrers")
_HOST_KEYS = ("capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout")
_ROOT_KEYS = ("server", "host", *_HOST_KEYS)


@dataclass(frozen=True)
class Endpoint:
    """One place to ask. `url` ends before /manifests/…'s repository: "https://mirror.example:5000/v2"."""

    url: str
    tls: Tls = field(default_factory=Tls)
    headers: tuple[tuple[str, str], ...] = ()
    can_resolve: bool = True
    can_pull: bool = True
    is_upstream: bool = True
    plain_http_fallback: bool = False
    """Try http where the server turns out not to speak TLS: for registries on this machine alone."""
    dial_timeout_s: float | None = None

    @property
    def host(self) -> str:
        """host or host:port."""
        return urlsplit(self.url).netloc


class HostsError(InvalidArgument):
    """A hosts.toml, or a registry's directory, that can't be used."""


class Hosts:
    """The endpoints of registries. Files are read again when their stat changes."""

    def __init__(self, config_path: Sequence[Path]) -> None:
        self._roots = tuple(config_path)
        self._cache: dict[tuple[Path, str], tuple[tuple[int, int, int], list[Endpoint]]] = {}

    def endpoints(self, domain: str) -> list[Endpoint]:
        """Where to ask for images of `domain` ("docker.io"), in this order. Raises HostsError."""
        directory = self._directory(domain)
        if directory is None:
            return [_default_endpoint(domain)]
        file = directory / "hosts.toml"
        try:
            status = file.stat()
        except OSError:
            return [_with_certificates(_default_endpoint(domain), directory)]
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        cached = self._cache.get((file, domain))
        if cached is None or cached[0] != stamp:
            cached = stamp, _HostsFile(file, domain).endpoints()
            self._cache[file, domain] = cached
        return cached[1]

    def _directory(self, domain: str) -> Path | None:
        """The registry's own directory before any `_default`, in the order of the roots."""
        for names in ((_port_spelled(domain), domain), ("_default",)):
            for root in self._roots:
                for name in names:
                    if (root / name).is_dir():
                        return root / name
        return None


def _port_spelled(domain: str) -> str:
    """`host_port_`: containerd's spelling for file systems that know no colon."""
    host, colon, port = domain.rpartition(":")
    return f"{host}_{port}_" if colon else domain


def is_local(host: str) -> bool:
    """Whether `host` (with or without port) is this machine by its name: no packet leaves it."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _default_endpoint(domain: str) -> Endpoint:
    """The registry itself, unconfigured. One on this machine needs no certificate, nor TLS at all, as elsewhere."""
    host = _UPSTREAMS.get(domain, domain)
    local = is_local(host)
    return Endpoint(f"https://{host}/v2", tls=Tls(skip_verify=local), plain_http_fallback=local)


def _with_certificates(endpoint: Endpoint, directory: Path) -> Endpoint:
    """Docker's way: every *.crt is a root, every *.cert a client certificate with its *.key beside it."""
    clients = []
    for certificate in sorted(directory.glob("*.cert")):
        key = certificate.with_suffix(".key")
        if not key.is_file():
            raise HostsError(f"{directory}: {certificate.name} needs its key beside it in {key.name}")
        clients.append((certificate, key))
    authorities = tuple(sorted(directory.glob("*.crt")))
    if not authorities and not clients:
        return endpoint
    return Endpoint(endpoint.url, tls=Tls(authorities, tuple(clients)))


class _HostsFile:
    """One hosts.toml, turned to endpoints."""

    def __init__(self, file: Path, domain: str) -> None:
        self._file, self._domain = file, domain
        try:
            self._text = file.read_text(encoding="utf-8")
            self._document = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise HostsError(f"{file}: not valid TOML: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise HostsError(f"{file}: can't be read: {error}") from error

    def endpoints(self) -> list[Endpoint]:
        self._known(self._document, _ROOT_KEYS, "")
        hosts = self._document.get("host", {})
        if not isinstance(hosts, dict):
            raise self._error("host", "", 'must be tables: [host."https://mirror.example"]')
        mirrors = [self._mirror(name, table) for name, table in hosts.items()]
        return [*mirrors, self._upstream()]

    def _mirror(self, name: str, table: Any) -> Endpoint:
        if not isinstance(table, dict):
            raise self._error(name, "host", "must be a table")
        self._known(table, _HOST_KEYS, name)
        return self._endpoint(name, table, name, is_upstream=False)

    def _upstream(self) -> Endpoint:
        server = self._document.get("server", "")
        if not isinstance(server, str):
            raise self._error("server", "", "must be a string")
        root = {key: value for key, value in self._document.items() if key not in ("server", "host")}
        if server:
            return self._endpoint(server, root, "", is_upstream=True)
        default = _default_endpoint(self._domain)
        if not root:
            return default
        return self._endpoint(default.url.removesuffix("/v2"), root, "", is_upstream=True)

    def _endpoint(self, name: str, table: Mapping[str, Any], section: str, *, is_upstream: bool) -> Endpoint:
        url = self._url(name, section, override=self._flag(table, "override_path", section))
        capabilities = self._capabilities(table, section)
        skip_verify = self._flag(table, "skip_verify", section)
        tls = Tls(self._authorities(table, section), self._clients(table, section), skip_verify=skip_verify)
        return Endpoint(
            url, tls, self._headers(table, section),
            can_resolve="resolve" in capabilities, can_pull="pull" in capabilities, is_upstream=is_upstream,
            plain_http_fallback=url.startswith("https://") and is_local(urlsplit(url).netloc) and tls == Tls(),
            dial_timeout_s=self._dial_timeout(table, section),
        )  # fmt: skip

    def _url(self, name: str, section: str, *, override: bool) -> str:
        parts = urlsplit(name if "://" in name else f"https://{name}")
        key = name if section else "server"
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise self._error(key, "", f"{name!r} must be like https://host:port/path")
        if parts.username or parts.password:
            raise self._error(key, "", "must hold no password: put credentials into auth.json")
        path = parts.path.rstrip("/")
        if not override and not path.endswith("/v2"):
            path += "/v2"
        return f"{parts.scheme}://{parts.netloc}{path}"

    def _capabilities(self, table: Mapping[str, Any], section: str) -> list[str]:
        chosen = table.get("capabilities", list(_CAPABILITIES))
        if not _is_strings(chosen) or not set(chosen) <= set(_CAPABILITIES):
            raise self._error("capabilities", section, f"must be a list of {', '.join(map(repr, _CAPABILITIES))}")
        return list(chosen)

    def _flag(self, table: Mapping[str, Any], key: str, section: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self._error(key, section, "must be true or false")
        return value

    def _authorities(self, table: Mapping[str, Any], section: str) -> tuple[Path, ...]:
        value = table.get("ca", [])
        if isinstance(value, str):
            value = [value]
        if not _is_strings(value):
            raise self._error("ca", section, "must be a path or a list of paths")
        return tuple(self._path(path, "ca", section) for path in value)

    def _clients(self, table: Mapping[str, Any], section: str) -> tuple[tuple[Path, Path], ...]:
        """A path of certificate and key in one file, a list of these, or a list of [certificate, key] pairs."""
        value = table.get("client", [])
        pairs: list[tuple[Path, Path]] = []
        for item in [value] if isinstance(value, str) else value if isinstance(value, list) else [None]:
            names: object = [item] if isinstance(item, str) else item
            if not _is_strings(names) or len(names) not in (1, 2):
                raise self._error("client", section, "must be a path, or a list of paths or [certificate, key] pairs")
            certificate, key = (self._path(name, "client", section) for name in (names[0], names[-1]))
            pairs.append((certificate, key))
        return tuple(pairs)

    def _path(self, name: str, key: str, section: str) -> Path:
        path = self._file.parent / name
        if not path.is_file():
            raise self._error(key, section, f"there is no file {path}")
        return path

    def _headers(self, table: Mapping[str, Any], section: str) -> tuple[tuple[str, str], ...]:
        value = table.get("header", {})
        headers: list[tuple[str, str]] = []
        for name, content in value.items() if isinstance(value, dict) else [("", None)]:
            lines: object = [content] if isinstance(content, str) else content
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not _is_strings(lines):
                raise self._error("header", section, "must be a table of header names and strings or lists of strings")
            if any(ord(char) < 32 for line in lines for char in line):
                raise self._error("header", section, f"{name} has a control character in it")
            headers += [(name, line) for line in lines]
        return tuple(headers)

    def _dial_timeout(self, table: Mapping[str, Any], section: str) -> float | None:
        value = table.get("dial_timeout")
        if value is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", value) if isinstance(value, str) else None
        if match is None:
            raise self._error("dial_timeout", section, 'must be a duration like "500ms", "3s" or "1m"')
        return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2]]

    def _known(self, table: Mapping[str, Any], allowed: tuple[str, ...], section: str) -> None:
        for key in table:
            if key not in allowed:
                raise self._error(key, section, f"unknown key; allowed: {', '.join(allowed)}")

    def _error(self, key: str, section: str, what: str) -> HostsError:
        line = _line_of(self._text, section, key)
        where = f"{self._file}:{line}" if line else str(self._file)
        return HostsError(f"{where}: {f'[host.{section!r}] ' if section else ''}{key}: {what}")


def _is_strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _line_of(text: str, section: str, key: str) -> int:
    """The line where `key` of the table that mentions `section` stands; 0 when it can't be told."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            table = line
            if key in line and (not section or section in line):
                return number
        elif re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line) and (
            section in table if section else not table
        ):
            return number
    return 0
