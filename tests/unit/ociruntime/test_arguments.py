"""Command lines as runc's callers write them."""

from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument
from podwright.ociruntime.arguments import GLOBAL, SYNTAX, parse


def test_conmons_create() -> None:
    line = "--root /r --log /l --log-format json --systemd-cgroup create --bundle /b --no-pivot --pid-file=/p one"
    options = parse(line.split(), GLOBAL)
    assert (options.value("root"), options.value("log-format"), options.on("systemd-cgroup")) == ("/r", "json", True)
    verb, *words = options.words
    found = parse(words, SYNTAX[verb], verb=verb)
    assert (found.value("bundle"), found.value("pid-file"), found.on("no-pivot"), found.words) == (
        "/b", "/p", True, ["one"]
    )  # fmt: skip


def test_options_behind_the_id_of_exec_are_the_commands() -> None:
    found = parse(["-t", "--env", "A=1", "-e", "B=2", "one", "ls", "-l", "--tty=false"], SYNTAX["exec"], verb="exec")
    assert found.values("env") == ["A=1", "B=2"]
    assert found.on("tty")
    assert found.words == ["one", "ls", "-l", "--tty=false"]


def test_a_word_after_two_dashes_is_no_option() -> None:
    assert parse(["--", "-x"], SYNTAX["start"]).words == ["-x"]


@pytest.mark.parametrize(
    ("verb", "line", "words"),
    [
        ("start", "--what one", "--what"),
        ("create", "one --bundle", "takes ID"),
        ("create", "--bundle", "needs a value"),
        ("delete", "--force=perhaps one", "neither true nor false"),
        ("kill", "one TERM more", "takes ID [SIGNAL]"),
        ("features", "one", "no further words"),
    ],
)
def test_what_is_wrong_is_named(verb: str, line: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(line.split(), SYNTAX[verb], verb=verb)
    assert words in str(refused.value)
