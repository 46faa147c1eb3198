"""Challenges and tokens, as bytes in and data out."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.registry.auth import (
    Challenge,
    basic_header,
    parse_challenges,
    parse_token,
    pick_challenge,
    token_request,
)
from podwright.registry.base import AuthenticationFailed, Credentials

ALICE = Credentials("alice", "s3cret")
BEARER = Challenge("bearer", {"realm": "https://auth.q.io/token", "service": "q.io"})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ("Basic realm=simple", [Challenge("basic", {"realm": "simple"})]),
        ("Basic", [Challenge("basic")]),
        ("BASIC REALM = \"a \\\"b\\\" c\"", [Challenge("basic", {"realm": 'a "b" c'})]),
        (
            'Negotiate, Basic realm="x", Bearer realm="https://y/z" , service=s',
            [
                Challenge("negotiate"),
                Challenge("basic", {"realm": "x"}),
                Challenge("bearer", {"realm": "https://y/z", "service": "s"}),
            ],
        ),
        ("Negotiate YWJj==, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ('Bearer realm="", error="denied"', [Challenge("bearer", {"realm": "", "error": "denied"})]),
        ("", []),
        ('"', []),
        ('Bearer realm="unclosed', [Challenge("bearer")]),
    ],
)  # fmt: skip
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges([header]) == expected


def test_bearer_is_preferred_over_any_number_of_headers() -> None:
    challenges = parse_challenges(["Basic realm=x", "Digest realm=y", 'Bearer realm="https://z"'])
    picked = pick_challenge(challenges)
    assert picked is not None
    assert picked.scheme == "bearer"
    assert pick_challenge(parse_challenges(["Negotiate", "Basic realm=x"])) == Challenge("basic", {"realm": "x"})
    assert pick_challenge(parse_challenges(["Negotiate"])) is None


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=400))
def test_any_header_is_read(header: str) -> None:
    for challenge in parse_challenges([header]):
        assert challenge.scheme == challenge.scheme.lower()


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
        st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_quoted_is_read_back(parameters: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
    header = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in quoted.items())
    assert parse_challenges([header]) == [Challenge("bearer", parameters)]


def test_a_huge_header_takes_no_time() -> None:
    assert parse_challenges(["Bearer " + 'a="' + "\\" * 5_000_000]) == [Challenge("bearer")]
    assert len(parse_challenges(["a, " * 1_000_000])) < 20_000


def test_token_request_with_a_password() -> None:
    request = token_request(BEARER, "team/app", ALICE, registry="q.io", encrypted=True)
    parts = urlsplit(request.url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://auth.q.io/token"
    assert parse_qs(parts.query) == {
        "service": ["q.io"], "scope": ["repository:team/app:pull"], "account": ["alice"],
    }  # fmt: skip
    assert request.authorization == basic_header(ALICE)
    assert request.form is None


def test_token_request_of_nobody() -> None:
    request = token_request(BEARER, "team/app", None, registry="q.io", encrypted=True)
    assert request.authorization == ""
    assert "account" not in request.url


def test_token_request_with_an_identity_token_is_a_form() -> None:
    credentials = Credentials(identity_token="refresh me")
    request = token_request(BEARER, "team/app", credentials, registry="q.io", encrypted=True)
    assert request.url == "https://auth.q.io/token"
    assert request.authorization == ""
    assert request.form is not None
    assert request.form["grant_type"] == "refresh_token"
    assert request.form["refresh_token"] == "refresh me"


def test_the_registrys_scopes_are_asked_for_one_by_one() -> None:
    challenge = Challenge("bearer", {"realm": "https://r/t?x=1", "scope": "repository:a:pull repository:b:pull"})
    request = token_request(challenge, "a", None, registry="q.io", encrypted=True)
    assert parse_qs(urlsplit(request.url).query) == {"x": ["1"], "scope": ["repository:a:pull", "repository:b:pull"]}


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("", "no usable token server"),
        ("ftp://q.io/token", "no usable token server"),
        ("file:///etc/passwd", "no usable token server"),
        ("https://user:pass@evil/token", "no usable token server"),
        ("http://auth.q.io/token", "without encryption"),
    ],
)
def test_passwords_go_to_no_odd_place(realm: str, words: str) -> None:
    with pytest.raises(AuthenticationFailed, match=words):
        token_request(Challenge("bearer", {"realm": realm}), "a", ALICE, registry="q.io", encrypted=True)


def test_a_plain_registry_may_have_a_plain_token_server() -> None:
    challenge = Challenge("bearer", {"realm": "http://127.0.0.1:5001/token"})
    assert token_request(challenge, "a", ALICE, registry="127.0.0.1:5000", encrypted=False).authorization


@pytest.mark.parametrize(
    ("answer", "header", "expires_at"),
    [
        ({"token": "abc"}, "Bearer abc", 155.0),
        ({"access_token": "abc", "expires_in": 300}, "Bearer abc", 395.0),
        ({"token": "abc", "access_token": "def", "expires_in": 0}, "Bearer abc", 155.0),
        ({"token": "abc", "expires_in": 1}, "Bearer abc", 105.0),
    ],
)
def test_tokens(answer: object, header: str, expires_at: float) -> None:
    token = parse_token(json.dumps(answer).encode(), now=100.0, realm="r")
    assert (token.header, token.expires_at) == (header, expires_at)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"token":1}',
        b'{"token":"a\\r\\nX-Evil: 1"}',
        b'{"token":"\xff"}',
        b'{"token":' + b"[" * 9999,
    ],
)
def test_answers_without_a_token_are_refused(data: bytes) -> None:
    with pytest.raises(AuthenticationFailed, match="https://r/t"):
        parse_token(data, now=0.0, realm="https://r/t")
