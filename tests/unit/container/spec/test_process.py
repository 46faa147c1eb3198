"""argv, environment and working directory."""

from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import ImageFacts
from podwright.container.spec.process import DEFAULT_PATH, arguments, environment, working_directory
from podwright.criapi import api_pb2 as pb

IMAGE = ImageFacts(entrypoint=("/entry", "-e"), command=("default", "args"))


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ([], [], ["/entry", "-e", "default", "args"]),
        ([], ["a"], ["/entry", "-e", "a"]),
        (["c"], [], ["c"]),
        (["c"], ["a"], ["c", "a"]),
    ],
)
def test_arguments(command: list[str], args: list[str], expected: list[str]) -> None:
    assert arguments(pb.ContainerConfig(command=command, args=args), IMAGE) == expected


@pytest.mark.parametrize("command", [[], [""], ["a\0b"]])
def test_nothing_to_run(command: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="command"):
        arguments(pb.ContainerConfig(command=command), ImageFacts())


def env(config: pb.ContainerConfig, *image: str, hostname: str = "", home: str = "") -> dict[str, str]:
    found = environment(config, ImageFacts(environment=image), hostname=hostname, home=home)
    return dict(entry.split("=", 1) for entry in found)


def test_request_overrides_the_image_in_place() -> None:
    config = pb.ContainerConfig(envs=[pb.KeyValue(key="B", value=b"new"), pb.KeyValue(key="D", value=b"")])
    found = environment(config, ImageFacts(environment=("A=1", "B=2", "C=x=y")), hostname="", home="/root")
    assert found[:4] == ["A=1", "B=new", "C=x=y", "D="]


def test_what_every_process_has() -> None:
    assert env(pb.ContainerConfig()) == {"PATH": DEFAULT_PATH, "HOME": "/"}
    assert env(pb.ContainerConfig(tty=True), hostname="pod", home="/home/web") == {
        "PATH": DEFAULT_PATH, "HOME": "/home/web", "TERM": "xterm", "HOSTNAME": "pod",
    }  # fmt: skip
    assert env(pb.ContainerConfig(tty=True), "PATH=/x", "HOME=/h", "TERM=vt100")["TERM"] == "vt100"


def test_odd_entries_of_the_image_are_left_out() -> None:
    assert "=x" not in str(env(pb.ContainerConfig(), "=x", "novalue"))


def test_values_that_are_no_utf8() -> None:
    assert env(pb.ContainerConfig(envs=[pb.KeyValue(key="A", value=b"\xff\xfe")]))["A"] == "\ufffd\ufffd"


@pytest.mark.parametrize("variable", [("", b"x"), ("A=B", b"x"), ("A\0", b"x"), ("A", b"x\0y")])
def test_bad_variables(variable: tuple[str, bytes]) -> None:
    with pytest.raises(InvalidArgument, match="envs"):
        env(pb.ContainerConfig(envs=[pb.KeyValue(key=variable[0], value=variable[1])]))


@pytest.mark.parametrize(
    ("asked", "image", "expected"),
    [("", "", "/"), ("", "/app", "/app"), ("/x", "/app", "/x"), ("rel", "", "/rel"), ("/a/../b/", "", "/b"),
     ("//a", "", "/a"), ("/proc", "", "/proc"), ("/procx", "", "/procx")],
)  # fmt: skip
def test_working_directory(asked: str, image: str, expected: str) -> None:
    assert working_directory(pb.ContainerConfig(working_dir=asked), ImageFacts(working_dir=image)) == expected


@pytest.mark.parametrize(
    "asked", ["/proc/self/fd/7", "proc/self/fd/8/", "/x/../proc/1/fd/3", "//proc//self/cwd", "/a\0b"]
)
def test_working_directory_that_names_what_the_runtime_has_open(asked: str) -> None:
    with pytest.raises(InvalidArgument, match="working_dir"):
        working_directory(pb.ContainerConfig(working_dir=asked), ImageFacts())
    with pytest.raises(InvalidArgument):
        working_directory(pb.ContainerConfig(), ImageFacts(working_dir=asked))
