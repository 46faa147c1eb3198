"""References: Docker's normalisation, and errors that say what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.errors import InvalidArgument
from podwright.oci.digest import parse_digest
from podwright.oci.reference import Reference, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/team/app", "docker.io/team/app:latest", "team/app:latest"),
        ("team/app", "docker.io/team/app:latest", "team/app:latest"),
        ("library/team/app", "docker.io/library/team/app:latest", "library/team/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
        ("LOCALHOST/app", "LOCALHOST/app:latest", "LOCALHOST/app:latest"),
        ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
        ("127.0.0.1:5000/a_b/c--d.e__f:T.-_", "127.0.0.1:5000/a_b/c--d.e__f:T.-_", "127.0.0.1:5000/a_b/c--d.e__f:T.-_"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"q.io/a:v1@{DIGEST}", f"q.io/a:v1@{DIGEST}", f"q.io/a:v1@{DIGEST}"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
    ],
)
def test_normalisation(text: str, full: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert parse_reference(full) == reference


def test_a_digest_wins_over_a_tag() -> None:
    reference = parse_reference(f"q.io/a:v1@{DIGEST}")
    assert (reference.tag, reference.digest, reference.selector) == ("v1", DIGEST, DIGEST)
    assert reference.tagged == ""
    assert reference.with_digest(parse_digest(DIGEST)) == f"q.io/a@{DIGEST}"
    assert parse_reference("q.io/a:v1").tagged == "q.io/a:v1"
    assert parse_reference("q.io/a:v1").selector == "v1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a" * 64, "is an image id"),
        ("https://q.io/a", "leave out https://"),
        ("Busybox", "must be lower case"),
        ("q.io/Team/app", "'Team' must be lower case"),
        ("q.io/a:", "tag ''"),
        ("q.io/a:-x", "tag '-x'"),
        ("q.io/a:" + "x" * 129, "1 to 128"),
        ("q.io/a//b", "empty part"),
        ("q.io/", "empty part"),
        ("/a", "empty part"),
        ("q.io/../etc", "'..' must be"),
        ("q.io/a..b", "separated by"),
        ("q.io/a___b", "separated by"),
        ("q.io/a b", "'a b' must be"),
        ("q.io/a\n", "separated by"),
        ("-q.io/a", "no name of a registry"),
        ("q.io:99999/a", "no port"),
        ("q.io:0/a", "no port"),
        ("q.io:x/a", "no name of a registry"),
        ("q.io/a@sha256:12", "has 2 digits"),
        (f"q.io/a@{DIGEST}@{DIGEST}", "digits"),
        ("q.io/a@md5:12", "unknown algorithm"),
        ("q.io/" + "a" * 252, "more than 255"),
        ("q.io/" + "a" * 2000, "characters"),
        ("user:pass@q.io/a", "no algorithm|unknown algorithm"),
    ],
)
def test_bad_references_are_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_reference(text)


_component = st.from_regex(r"[a-z0-9]{1,6}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
_domain = st.from_regex(r"[a-z][a-z0-9]{0,5}(?:\.[a-z0-9]{1,5}){1,2}(?::[1-9][0-9]{0,3})?", fullmatch=True)
_tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(_domain, st.lists(_component, min_size=1, max_size=4), st.one_of(st.just(""), _tag), st.booleans())
def test_what_is_printed_parses_to_the_same(domain: str, parts: list[str], tag: str, with_digest: bool) -> None:
    digest = parse_digest(DIGEST) if with_digest else None
    text = f"{domain}/{'/'.join(parts)}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = parse_reference(text)
    assert reference == Reference(domain, "/".join(parts), tag or ("" if digest else "latest"), digest)
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


@given(st.lists(_component, min_size=1, max_size=3), _tag)
def test_familiar_names_of_docker_hub_parse_back(parts: list[str], tag: str) -> None:
    reference = parse_reference(f"docker.io/{'/'.join(parts)}:{tag}")
    assert parse_reference(reference.familiar) == reference


@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return
    assert parse_reference(str(reference)) == reference
    assert ".." not in reference.path.split("/")
