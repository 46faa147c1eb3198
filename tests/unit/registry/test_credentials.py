"""The node's own credentials: files and helper programs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.registry.base import Credentials
from podwright.registry.credentials import NodeCredentials


def entry(username: str, password: str = "p") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def files(tmp_path: Path, *documents: Any) -> NodeCredentials:
    paths = []
    for number, document in enumerate(documents):
        path = tmp_path / f"auth{number}.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        paths.append(path)
    return NodeCredentials([tmp_path / "absent.json", *paths])


async def username(node: NodeCredentials, domain: str, repository: str = "team/app") -> str | None:
    found = await node.lookup(domain, repository)
    return found.username if found else None


@pytest.mark.parametrize(
    ("key", "domain"),
    [
        ("q.io", "q.io"),
        ("q.io:5000", "q.io:5000"),
        ("https://q.io", "q.io"),
        ("https://q.io/v1/", "q.io"),
        ("https://q.io/v2/", "q.io"),
        ("http://q.io/", "q.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("docker.io/team", "docker.io"),
    ],
)
async def test_keys(tmp_path: Path, key: str, domain: str) -> None:
    node = files(tmp_path, {"auths": {key: entry("alice"), "other.io": entry("eve")}})
    assert await username(node, domain) == "alice"
    assert await username(node, "r.io") is None


async def test_the_most_specific_key_wins(tmp_path: Path) -> None:
    keys = {"q.io": "host", "q.io/team": "team", "q.io/team/app": "app", "q.io/te": "no part of a name"}
    node = files(tmp_path, {"auths": {key: entry(name) for key, name in keys.items()}})
    assert await username(node, "q.io", "team/app") == "app"
    assert await username(node, "q.io", "team/app/deep") == "app"
    assert await username(node, "q.io", "team/other") == "team"
    assert await username(node, "q.io", "teams") == "host"
    assert await username(node, "q.io:5000", "team/app") is None


async def test_the_first_file_that_knows_wins(tmp_path: Path) -> None:
    node = files(
        tmp_path, {"auths": {"q.io": {}}}, {"auths": {"q.io": entry("second")}}, {"auths": {"q.io": entry("3")}}
    )
    assert await username(node, "q.io") == "second"


async def test_all_fields(tmp_path: Path) -> None:
    node = files(
        tmp_path,
        {
            "auths": {
                "a.io": {"username": "u", "password": "p"},
                "b.io": {"identitytoken": "i", "auth": entry("u", "")["auth"]},
                "c.io": {"registrytoken": "r"},
            }
        },
    )
    assert await node.lookup("a.io", "x") == Credentials("u", "p")
    assert await node.lookup("b.io", "x") == Credentials("u", "", identity_token="i")
    assert await node.lookup("c.io", "x") == Credentials(registry_token="r")


@pytest.mark.parametrize(
    ("document", "words"),
    [("{", "auth0.json"), ('{"auths": 5}', "auths"), ('{"auths": {"q.io": {"auth": "%%"}}}', "q.io: .*not base64")],
)
async def test_bad_files_are_named(tmp_path: Path, document: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        await files(tmp_path, document).lookup("q.io", "a")


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A fake docker-credential-fake on PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "docker-credential-fake"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


async def test_helpers_are_asked_for_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(
        tmp_path, monkeypatch,
        'server=$(cat); test "$1" = get && printf \'{"Username":"for %s","Secret":"s"}\' "$server"',
    )  # fmt: skip
    node = files(tmp_path, {"auths": {"q.io": entry("file")}, "credHelpers": {"q.io": "fake"}})
    assert await node.lookup("q.io", "a") == Credentials("for q.io", "s")
    store = files(tmp_path, {"auths": {"q.io": entry("file")}, "credsStore": "fake"})
    assert await username(store, "q.io") == "file"
    assert await username(store, "r.io") == "for r.io"
    assert await username(store, "docker.io") == "for https://index.docker.io/v1/"


async def test_a_helpers_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, 'echo \'{"Username":"<token>","Secret":"refresh"}\'')
    node = files(tmp_path, {"credHelpers": {"q.io": "fake"}})
    assert await node.lookup("q.io", "a") == Credentials(identity_token="refresh")


async def test_a_helper_that_knows_nothing_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, 'echo "credentials not found in native keychain"; exit 1')
    node = files(tmp_path, {"credsStore": "fake"}, {"auths": {"q.io": entry("next file")}})
    assert await username(node, "q.io") == "next file"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo broken >&2; exit 3", "status 3: broken"),
        ("echo hello", "no credentials"),
        ("echo '[]'", "no credentials"),
    ],
)
async def test_a_helper_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str) -> None:
    helper(tmp_path, monkeypatch, script)
    with pytest.raises(FailedPrecondition, match=words):
        await files(tmp_path, {"credHelpers": {"q.io": "fake"}}).lookup("q.io", "a")


async def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"docker-credential-absent for q\.io is not installed"):
        await files(tmp_path, {"credHelpers": {"q.io": "absent"}}).lookup("q.io", "a")
    with pytest.raises(InvalidArgument, match="no name of a program"):
        await files(tmp_path, {"credHelpers": {"q.io": "../../tmp/evil"}}).lookup("q.io", "a")
