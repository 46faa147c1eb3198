"""What the terminal gets."""

import json

import pytest

from podwright.cli import output
from podwright.criapi import api_pb2 as pb


def test_a_table_is_as_wide_as_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["A", "LONG"], [("x", "1"), ("yyy", "22222")], right=["LONG"])
    assert capsys.readouterr().out == "A      LONG\nx         1\nyyy   22222\n"
    output.print_table(["A", "B"], [])
    assert capsys.readouterr().out == "A   B\n"


def test_states_are_coloured_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    output.print_table(["S"], [("ready",)], states=["S"])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.print_table(["S"], [("ready",), ("other",)], states=["S"])
    assert capsys.readouterr().out == "\x1b[1mS\x1b[0m\n\x1b[32mready\x1b[0m\nother\n"
    monkeypatch.setenv("NO_COLOR", "1")
    output.print_table(["S"], [("ready",)], states=["S"])
    assert "\x1b" not in capsys.readouterr().out


def test_nobodys_label_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_line("a\x1b[2Jb\nc\x9bd\x7f")
    assert capsys.readouterr().out == "a\ufffd[2Jb\ufffdc\ufffdd\ufffd\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234, "1.23 kB"), (999_499, "999 kB"), (999_500, "1 MB")],
)
def test_sizes(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "less than a second"), (1, "1 second"), (119, "1 minute"), (7200, "2 hours"), (86400 * 400, "1 year")],
)
def test_spans(seconds: float, text: str) -> None:
    assert output.span(seconds) == text


def test_ages() -> None:
    assert output.age(0) == ""
    assert output.age(1).endswith(" years ago")


def test_ids() -> None:
    assert output.short_id("sha256:" + "a" * 64) == "a" * 12
    assert output.short_id("b" * 64) == "b" * 12


def test_json_is_as_crictl_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json(output.as_dict(pb.PodSandbox(id="x", created_at=5, state=pb.SANDBOX_NOTREADY)))
    assert json.loads(capsys.readouterr().out) == {
        "id": "x", "createdAt": "5", "state": "SANDBOX_NOTREADY", "labels": {}, "annotations": {}, "runtimeHandler": "",
    }  # fmt: skip
