"""Which subcommand argv names, and that all of them are there and say what they do."""

import subprocess  # noqa: TID251 - what is measured is a fresh interpreter
import sys

import pytest
import typer
from typer.testing import CliRunner

from podwright.base.errors import InvalidArgument
from podwright.cli.app import COMMANDS, build, subcommand
from podwright.cli.options import Globals, socket_path


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ([], ""),
        (["ps"], "ps"),
        (["ps", "--socket", "x"], "ps"),
        (["--socket", "pods", "ps"], "ps"),
        (["--socket=pods", "ps"], "ps"),
        (["--help"], ""),
        (["--socket"], ""),
        (["nonsense"], "nonsense"),
    ],
)
def test_the_subcommand_is_found_before_typer_sees_it(argv: list[str], name: str) -> None:
    assert subcommand(argv) == name


def test_completion_needs_all_subcommands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PODWRIGHT_COMPLETE", "complete_bash")
    assert subcommand(["ps"]) == ""


def test_help_names_every_subcommand() -> None:
    shown = CliRunner().invoke(build(["--help"]), ["--help"])
    assert shown.exit_code == 0
    assert all(f"\n  {name} " in shown.output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_has_help(name: str) -> None:
    shown = CliRunner().invoke(build([name]), [name, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


def test_an_unknown_subcommand_is_a_usage_error() -> None:
    assert CliRunner().invoke(build(["bogus"]), ["bogus"]).exit_code == 2


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        (None, None, "/run/podwright/podwright.sock"),
        ("/a", None, "/a"),
        ("/a", "/b", "/b"),
        (None, "unix:///c/d.sock", "/c/d.sock"),
        ("unix:/c", None, "/c"),
    ],
)
def test_the_socket_may_be_named_before_and_after(before: str | None, after: str | None, path: str) -> None:
    command = typer.main.get_command(build(["version"]))
    ctx = typer.Context(command, obj=Globals(socket=before))
    assert str(socket_path(ctx, after)) == path


def test_ps_does_not_import_what_only_others_need() -> None:
    program = (
        "import sys; from podwright.cli.app import build; build(['ps']);"
        "names = ('yaml', 'rich', 'aiohttp', 'msgspec', 'sqlite3', 'structlog', 'pydantic');"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_socket_is_no_url() -> None:
    ctx = typer.Context(typer.main.get_command(build(["version"])))
    with pytest.raises(InvalidArgument, match="--socket: a CRI socket is a path or unix://PATH, not tcp"):
        socket_path(ctx, "tcp://localhost:1")
