"""`podwright doctor` on a node with a Docker Engine."""

from __future__ import annotations

from pathlib import Path

from podwright.cli.checks import engine
from podwright.cli.checks.finding import Level
from tests.support.dockerd import Dockerd


def test_an_engine_that_is_set_up(dockerd: Dockerd) -> None:
    found = list(engine.findings(dockerd.socket, "cgroupfs"))
    assert {finding.level for finding in found} == {Level.OK}
    assert f"at {dockerd.socket}" in found[0].message
    assert "runc" in found[-1].message


def test_what_is_in_the_way(dockerd: Dockerd, tmp_path: Path) -> None:
    (mismatch,) = (each for each in engine.findings(dockerd.socket, "systemd") if each.level is Level.FAIL)
    assert "Docker makes cgroups by cgroupfs, Podwright by systemd" in mismatch.message
    assert 'cgroup.driver = "cgroupfs"' in mismatch.mend
    (nobody,) = engine.findings(tmp_path / "none.sock", "cgroupfs")
    assert (nobody.level, nobody.mend) == (Level.FAIL, "start it, or name its socket: docker.socket")
    poor = list(engine.judge(engine.Facts(driver="vfs", cgroup_driver="systemd"), "systemd"))
    assert [finding.level for finding in poor] == [Level.OK, Level.WARN, Level.WARN, Level.OK]
