"""containerd's hosts.toml directories: which one counts, what it says, and where it is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.registry.hosts import Hosts, HostsError, is_local
from podwright.registry.tls import Tls


def write(root: Path, host: str, text: str) -> Path:
    directory = root / host
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hosts.toml").write_text(text)
    return directory


def urls(root: Path, domain: str) -> list[str]:
    return [endpoint.url for endpoint in Hosts([root]).endpoints(domain)]


def test_without_configuration_the_registry_itself_is_asked(tmp_path: Path) -> None:
    hosts = Hosts([tmp_path / "absent"])
    (endpoint,) = hosts.endpoints("q.io:5000")
    assert endpoint.url == "https://q.io:5000/v2"
    assert endpoint.host == "q.io:5000"
    assert endpoint.is_upstream
    assert endpoint.tls == Tls()
    assert not endpoint.plain_http_fallback
    assert hosts.endpoints("docker.io")[0].url == "https://registry-1.docker.io/v2"


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"])
def test_registries_on_this_machine_may_speak_http(tmp_path: Path, host: str) -> None:
    (endpoint,) = Hosts([tmp_path]).endpoints(host)
    assert is_local(host)
    assert endpoint.plain_http_fallback
    assert endpoint.tls.skip_verify


@pytest.mark.parametrize("host", ["q.io", "10.0.0.1:5000", "localhost.q.io", "[2001:db8::1]:5000", "127.0.0.1.q.io"])
def test_others_may_not(tmp_path: Path, host: str) -> None:
    assert not is_local(host)
    assert not Hosts([tmp_path]).endpoints(host)[0].plain_http_fallback


def test_mirrors_come_in_order_before_the_server(tmp_path: Path) -> None:
    write(
        tmp_path,
        "docker.io",
        """
        server = "https://upstream.example"
        [host."https://m2.example:5000"]
          capabilities = ["pull"]
        [host."http://m1.example/proxy/"]
          capabilities = ["pull", "resolve", "push"]
          skip_verify = true
          [host."http://m1.example/proxy/".header]
            X-One = "1"
            X-Two = ["2a", "2b"]
        [host."https://m3.example/odd/place"]
          override_path = true
        ["host"."m4.example"]
          dial_timeout = "1500ms"
        """,
    )
    m2, m1, m3, m4, upstream = Hosts([tmp_path]).endpoints("docker.io")
    assert (m2.url, m2.can_pull, m2.can_resolve, m2.is_upstream) == ("https://m2.example:5000/v2", True, False, False)
    assert m1.url == "http://m1.example/proxy/v2"
    assert m1.headers == (("X-One", "1"), ("X-Two", "2a"), ("X-Two", "2b"))
    assert m1.tls.skip_verify
    assert m3.url == "https://m3.example/odd/place"
    assert (m4.url, m4.dial_timeout_s) == ("https://m4.example/v2", 1.5)
    assert (upstream.url, upstream.is_upstream, upstream.can_resolve) == ("https://upstream.example/v2", True, True)


def test_without_server_the_default_follows(tmp_path: Path) -> None:
    write(tmp_path, "docker.io", '[host."https://m.example"]\n')
    assert urls(tmp_path, "docker.io") == ["https://m.example/v2", "https://registry-1.docker.io/v2"]


def test_root_options_are_the_servers(tmp_path: Path) -> None:
    directory = write(tmp_path, "q.io", 'ca = "own.crt"\nskip_verify = true\ncapabilities = ["pull"]\n')
    (directory / "own.crt").write_text("x")
    (endpoint,) = Hosts([tmp_path]).endpoints("q.io")
    assert endpoint.url == "https://q.io/v2"
    assert endpoint.tls == Tls((directory / "own.crt",), (), skip_verify=True)
    assert not endpoint.can_resolve


@pytest.mark.parametrize("name", ["q.io_5000_", "q.io:5000", "_default"])
def test_names_of_directories(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, '[host."https://m.example"]\n')
    assert urls(tmp_path, "q.io:5000")[0] == "https://m.example/v2"


def test_the_registrys_own_directory_wins_over_default_even_in_a_later_root(tmp_path: Path) -> None:
    write(tmp_path / "one", "_default", '[host."https://default.example"]\n')
    write(tmp_path / "two", "q.io", '[host."https://own.example"]\n')
    hosts = Hosts([tmp_path / "one", tmp_path / "two"])
    assert hosts.endpoints("q.io")[0].url == "https://own.example/v2"
    assert hosts.endpoints("r.io")[0].url == "https://default.example/v2"
    assert hosts.endpoints("r.io")[1].url == "https://r.io/v2"


def test_changes_count_at_once(tmp_path: Path) -> None:
    hosts = Hosts([tmp_path])
    assert hosts.endpoints("q.io")[0].url == "https://q.io/v2"
    directory = write(tmp_path, "q.io", '[host."https://a.example"]\n')
    assert hosts.endpoints("q.io")[0].url == "https://a.example/v2"
    write(tmp_path, "q.io", '[host."https://b.example"]\n')
    os.utime(directory / "hosts.toml", ns=(1, 1))
    assert hosts.endpoints("q.io")[0].url == "https://b.example/v2"
    (directory / "hosts.toml").unlink()
    assert hosts.endpoints("q.io")[0].url == "https://q.io/v2"


def test_certificates_without_hosts_toml_as_docker_has_them(tmp_path: Path) -> None:
    directory = tmp_path / "127.0.0.1:5000"
    directory.mkdir()
    for name in ("a.crt", "b.crt", "client.cert", "client.key"):
        (directory / name).write_text("x")
    (endpoint,) = Hosts([tmp_path]).endpoints("127.0.0.1:5000")
    assert endpoint.tls.ca == (directory / "a.crt", directory / "b.crt")
    assert endpoint.tls.client == ((directory / "client.cert", directory / "client.key"),)
    assert not endpoint.tls.skip_verify
    assert not endpoint.plain_http_fallback
    (directory / "client.key").unlink()
    with pytest.raises(HostsError, match=r"client\.cert needs its key beside it in client\.key"):
        Hosts([tmp_path]).endpoints("127.0.0.1:5000")


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ('"one.pem"', [("one.pem", "one.pem")]),
        ('["one.pem", "two.pem"]', [("one.pem", "one.pem"), ("two.pem", "two.pem")]),
        ('[["one.pem", "key.pem"], ["two.pem"]]', [("one.pem", "key.pem"), ("two.pem", "two.pem")]),
        ('[["one.pem", "key.pem"], "two.pem"]', [("one.pem", "key.pem"), ("two.pem", "two.pem")]),
    ],
)
def test_client_certificates(tmp_path: Path, client: str, expected: list[tuple[str, str]]) -> None:
    directory = write(tmp_path, "q.io", f"[host.'https://m.example']\nclient = {client}\n")
    for name in ("one.pem", "two.pem", "key.pem"):
        (directory / name).write_text("x")
    pairs = Hosts([tmp_path]).endpoints("q.io")[0].tls.client
    assert [(certificate.name, key.name) for certificate, key in pairs] == expected


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("server = ", 0, "not valid TOML"),
        ("server = 5", 1, "server: must be a string"),
        ('servr = "x"', 1, "servr: unknown key; allowed: server, host, capabilities"),
        ('\nserver = "ftp://x"', 2, "must be like https://host:port/path"),
        ('server = "https://user:pass@x"', 1, "must hold no password"),
        ('host = "x"', 1, "must be tables"),
        ('[host]\n"https://m" = 5', 2, "must be a table"),
        ('[host."https://m"]\ncapabilites = ["pull"]', 2, "capabilites: unknown key"),
        ('[host."https://m"]\n[host."https://n"]\ncapabilities = ["pul"]', 3, "must be a list of 'pull', 'resolve'"),
        ('[host."https://m"]\n\nskip_verify = "yes"', 3, "must be true or false"),
        ('[host."https://m"]\nca = ["absent.crt"]', 2, "there is no file .*absent.crt"),
        ('[host."https://m"]\nca = 5', 2, "must be a path or a list"),
        ('[host."https://m"]\nclient = 5', 2, "must be a path, or a list"),
        ('[host."https://m"]\nclient = [["a", "b", "c"]]', 2, "must be a path, or a list"),
        ('[host."https://m"]\n[host."https://m".header]\nX = 5', 2, "must be a table of header names"),
        ('[host."https://m"]\nheader = 5', 2, "must be a table of header names"),
        ('[host."https://m".header]\n"X Y" = "z"', 1, "must be a table of header names"),
        ('[host."https://m".header]\nX = "a\\nb"', 1, "control character"),
        ('[host."https://m"]\ndial_timeout = 5', 2, "must be a duration"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    directory = write(tmp_path, "q.io", text)
    with pytest.raises(HostsError, match=words) as caught:
        Hosts([tmp_path]).endpoints("q.io")
    assert str(caught.value).startswith(str(directory / "hosts.toml") + (f":{line}: " if line else ": "))
