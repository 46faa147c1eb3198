"""Credentials: read from what callers have, never shown."""

from __future__ import annotations

import base64
import pickle
import traceback

import pytest

from podwright.base.errors import InvalidArgument
from podwright.registry.base import Credentials, decode_basic, make_credentials


def test_no_text_of_credentials_shows_a_secret() -> None:
    credentials = Credentials("alice", "hunter2", "refresh", "bearer", "q.io")
    for text in (repr(credentials), str(credentials), f"{credentials}", f"{(credentials,)}", credentials.fingerprint):
        assert not any(secret in text for secret in ("hunter2", "refresh", "bearer"))
    assert "alice" in repr(credentials)
    assert "hunter2" not in "".join(traceback.format_exception(RuntimeError(credentials)))
    assert pickle.loads(pickle.dumps(credentials)) == credentials


def test_fingerprints_tell_credentials_apart() -> None:
    many = [Credentials("a", "b"), Credentials("ab", ""), Credentials("", "ab"), Credentials(identity_token="ab")]
    many.append(Credentials("a", "b", server_address="q.io"))
    assert len({credentials.fingerprint for credentials in many}) == len(many)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (encoded("alice:s3cret"), ("alice", "s3cret")),
        (encoded("alice:a:b"), ("alice", "a:b")),
        (encoded("alice:"), ("alice", "")),
        (encoded("alice:p").rstrip("="), ("alice", "p")),
        (encoded("alice:p\0\0"), ("alice", "p")),
        (encoded("ålice:pä"), ("ålice", "pä")),
    ],
)
def test_basic_auth_strings(auth: str, expected: tuple[str, str]) -> None:
    assert decode_basic(auth) == expected
    made = make_credentials(auth=auth)
    assert made is not None
    assert (made.username, made.password) == expected


@pytest.mark.parametrize("auth", ["%%%", encoded("no colon"), "YQ", base64.b64encode(b"\xff:\xff").decode()])
def test_bad_auth_strings_are_refused_without_showing_them(auth: str) -> None:
    with pytest.raises(InvalidArgument, match="not base64") as caught:
        make_credentials(auth=auth)
    assert auth not in str(caught.value)


def test_nothing_makes_no_credentials() -> None:
    assert make_credentials() is None
    assert make_credentials(server_address="q.io") is None
    assert make_credentials(username="a", password="b", auth=encoded("c:d")) == Credentials("a", "b")
