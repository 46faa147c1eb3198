"""From names to runtimes; fake programs, real look-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.runtime import hybrid
from podwright.runtime.base import Runtime
from podwright.runtime.handlers import Handlers, HandlerSettings, Settings


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that alone is searched for programs; no hybrid cgroups."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr("podwright.linux.process.DEFAULT_PATH", str(directory))
    monkeypatch.setattr(hybrid, "needed", lambda: False)
    return directory


def program(directory: Path, name: str) -> Path:
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def make(tmp_path: Path, settings: Settings | None = None) -> Handlers:
    return Handlers(settings or Settings(), tmp_path / "state")


def test_crun_before_runc(tmp_path: Path, installed: Path) -> None:
    runc = program(installed, "runc")
    assert make(tmp_path).runtime("").program == runc
    assert "crun is not installed" in make(tmp_path).explain()
    crun = program(installed, "crun")
    handlers = make(tmp_path)
    assert handlers.runtime("").program == crun
    assert (handlers.default, handlers.names()) == ("crun", ("crun", "runc"))
    assert handlers.explain().startswith("crun, because")


def test_none_installed(tmp_path: Path, installed: Path) -> None:
    with pytest.raises(FailedPrecondition, match="install crun or runc"):
        make(tmp_path)


def test_configured_default(tmp_path: Path, installed: Path) -> None:
    program(installed, "crun")
    program(installed, "runc")
    handlers = make(tmp_path, Settings(default="runc"))
    assert handlers.runtime("").program.name == "runc"
    with pytest.raises(InvalidArgument, match=r"'kata'.*crun, runc"):
        make(tmp_path, Settings(default="kata"))


def test_unknown_handler_names_those_there_are(tmp_path: Path, installed: Path) -> None:
    program(installed, "crun")
    with pytest.raises(InvalidArgument, match=r"'gvisor' is not a handler of this node; there are: crun"):
        make(tmp_path).runtime("gvisor")


def test_a_configured_handler(tmp_path: Path, installed: Path) -> None:
    program(installed, "crun")
    runsc = program(installed, "runsc")
    configured = HandlerSettings(path="runsc", type="oci", root=tmp_path / "own", options=("--platform=systrap",))
    handlers = make(tmp_path, Settings(handlers={"gvisor": configured}))
    runtime = handlers.runtime("gvisor")
    assert runtime.command.path == runsc
    assert runtime.command.global_args == ("--platform=systrap", "--root", str(tmp_path / "own"))
    assert runtime is handlers.runtime("gvisor")
    assert handlers.settings("gvisor") is configured
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700


def test_a_handlers_name_is_its_program_by_default(tmp_path: Path, installed: Path) -> None:
    program(installed, "youki")
    handlers = make(tmp_path, Settings(handlers={"youki": HandlerSettings()}))
    assert handlers.runtime("").program.name == "youki"


async def test_a_missing_program_is_an_error_of_its_handler_alone(tmp_path: Path, installed: Path) -> None:
    program(installed, "runc")
    handlers = make(tmp_path, Settings(handlers={"kata": HandlerSettings(path="/no/kata")}))
    with pytest.raises(FailedPrecondition, match=r"runtime\.handlers\.kata\.path"):
        handlers.runtime("kata")
    assert set(await handlers.features()) == {"", "runc"}


def test_hybrid_hosts(tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "needed", lambda: True)
    crun, _runc = program(installed, "crun"), program(installed, "runc")
    handlers = make(tmp_path)
    assert handlers.default == "runc"
    assert "needs perl or util-linux" in handlers.explain()
    program(installed, "unshare")
    program(installed, "sh")
    handlers = make(tmp_path)
    assert "hybrid" in handlers.explain()
    command = handlers.runtime("").command
    assert command.path.name == "unshare"
    assert command.global_args[-3:] == (str(crun), "--root", str(tmp_path / "state/crun"))
    assert handlers.runtime("runc").command.path.name == "runc"


def test_runtimes_are_told_of_systemds_cgroups(tmp_path: Path, installed: Path) -> None:
    program(installed, "runc")
    told = Handlers(Settings(), tmp_path / "state", systemd_cgroups=True).runtime("").command
    assert "--systemd-cgroup" in told.global_args
    assert "--systemd-cgroup" not in make(tmp_path).runtime("").command.global_args


def test_gvisor_by_its_programs_name(tmp_path: Path, installed: Path) -> None:
    for name in ("crun", "runsc", "wrapper"):
        program(installed, name)
    configured = {
        "gvisor": HandlerSettings(path=str(installed / "runsc")),
        "wrapped": HandlerSettings(path="wrapper", type="gvisor"),
        "plain": HandlerSettings(path="runsc", type="oci"),
        "without": HandlerSettings(path="runsc", wants_sandbox_container=False),
    }
    handlers = make(tmp_path, Settings(handlers=configured))
    own_kernel = {name: handlers.runtime(name).own_kernel for name in handlers.names()}
    assert own_kernel == {
        "crun": False, "gvisor": True, "plain": False, "runsc": True, "without": True, "wrapped": True
    }  # fmt: skip
    assert [name for name in handlers.names() if handlers.wants_sandbox_container(name)] == [
        "gvisor", "runsc", "wrapped"
    ]  # fmt: skip
    assert not handlers.wants_sandbox_container("")
    with pytest.raises(InvalidArgument, match="not a handler"):
        handlers.wants_sandbox_container("kata")


class Shims:
    """Who drives shims, as far as handlers know."""

    def __init__(self, driver: Runtime) -> None:
        self.driver, self.asked = driver, [""]

    def runtime(self, handler: str, settings: HandlerSettings) -> Runtime:
        self.asked = [handler, settings.path]
        return self.driver

    async def end_leftovers(self) -> None:
        self.asked.append("leftovers")


async def test_shims_by_their_names(tmp_path: Path, installed: Path) -> None:
    for name in ("crun", "containerd-shim-runc-v2"):
        program(installed, name)
    configured = {
        "kata": HandlerSettings(path="io.containerd.kata.v2"),
        "odd": HandlerSettings(path="/opt/odd", type="shim", wants_sandbox_container=False),
    }
    settings = Settings(handlers=configured)
    with pytest.raises(FailedPrecondition, match="no command line"):
        make(tmp_path, settings).runtime("kata")
    shims = Shims(make(tmp_path).runtime("crun"))
    handlers = Handlers(settings, tmp_path / "state", shims=shims)
    assert handlers.names() == ("crun", "kata", "odd", "shim")
    assert handlers.runtime("kata") is shims.driver
    assert shims.asked == ["kata", "io.containerd.kata.v2"]
    assert [name for name in handlers.names() if handlers.isolates(name)] == ["kata", "odd"]
    assert [name for name in handlers.names() if handlers.wants_sandbox_container(name)] == ["kata"]
    await handlers.end_leftovers()
    assert shims.asked[-1] == "leftovers"


def test_our_own_programs_are_handlers_where_what_they_need_is_installed(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "venv/bin/python"))
    program(installed, "crun")
    own = program(installed, "podwright-nspawn")
    assert make(tmp_path).names() == ("crun",)
    program(installed, "systemd-nspawn")
    handlers = make(tmp_path)
    assert handlers.names() == ("crun", "nspawn")
    assert handlers.runtime("nspawn").program == own
    assert not handlers.isolates("nspawn")
    assert Handlers(Settings(), tmp_path / "state", systemd_cgroups=True).names() == ("crun",)
    configured = Settings(handlers={"nspawn": HandlerSettings(options=("--debug",))})
    assert make(tmp_path, configured).runtime("nspawn").program == own
