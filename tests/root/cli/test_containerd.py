"""The command line against a runtime that isn't ours: Debian's containerd, on roots of its own.

It proves both ways: that the client keeps to the CRI, and that what the tests of our own daemon demand is what other
runtimes do, too.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess  # noqa: TID251 - a server that tests start as a person would
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from examples.make_hello_image import image as hello_image

from podwright.criapi import api_pb2 as pb
from podwright.criapi.api_pb2_grpc import RuntimeServiceStub
from tests.support import names, play, remote
from tests.support.command_line import CommandLine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("containerd") is None, reason="containerd is not installed"),
]

PAUSE = "localhost/pause:1"
_START_S = 20.0


class Containerd:
    """A containerd in a directory: root, state, runc's state, CNI configuration and log."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.socket = directory, directory / "c.sock"
        self.bridge = names.link()
        # Made here and not by the first pod, so that no test is to be blamed for it.
        subprocess.run(["ip", "link", "add", self.bridge, "type", "bridge"], check=True, capture_output=True)
        self.log = directory / "log"
        (directory / "cni").mkdir()
        (directory / "cni/10-test.conflist").write_text(json.dumps(self._network()))
        (directory / "config.toml").write_text(self._config())
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["containerd", "--config", directory / "config.toml"], stdout=log, stderr=log, start_new_session=True
            )

    def _network(self) -> dict[str, object]:
        ipam = {"type": "host-local", "dataDir": f"{self.directory}/ipam", "ranges": [[{"subnet": names.subnet()}]]}
        bridge = {"type": "bridge", "bridge": self.bridge, "isGateway": True, "ipam": ipam}
        return {"cniVersion": "0.4.0", "name": names.network(), "plugins": [bridge]}

    def _config(self) -> str:
        return f"""
            version = 2
            root = "{self.directory}/root"
            state = "{self.directory}/state"
            [grpc]
            address = "{self.socket}"
            [plugins."io.containerd.grpc.v1.cri"]
            sandbox_image = "{PAUSE}"
            restrict_oom_score_adj = true
            [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "/usr/lib/cni"
            conf_dir = "{self.directory}/cni"
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
            runtime_type = "io.containerd.runc.v2"
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            Root = "{self.directory}/runc"
        """

    def wait_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        with grpc.insecure_channel(f"unix:{self.socket}", options=[("grpc.default_authority", "localhost")]) as channel:
            while True:
                try:
                    RuntimeServiceStub(channel).Version(pb.VersionRequest(), timeout=1, wait_for_ready=True)
                    return
                except grpc.RpcError:
                    assert self._process.poll() is None, self.log.read_text()
                    assert time.monotonic() < deadline, self.log.read_text()

    def import_image(self, archive: bytes) -> None:
        path = self.directory / "image.tar"
        path.write_bytes(archive)
        subprocess.run(
            ["ctr", "--address", self.socket, "--namespace", "k8s.io", "images", "import", path],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)


def pause_image() -> bytes:
    """The image that containerd keeps pods open with: busybox, asleep."""
    original, changed = io.BytesIO(hello_image(PAUSE)), io.BytesIO()
    with tarfile.open(fileobj=original) as source, tarfile.open(fileobj=changed, mode="w") as target:
        for member in source:
            data = source.extractfile(member)
            assert data is not None
            content = data.read()
            if member.name.endswith(".json") and member.name != "manifest.json":
                config = json.loads(content)
                config["config"] = {"Entrypoint": ["/bin/sleep", "1000000"]}
                content = json.dumps(config).encode()
                member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return changed.getvalue()


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    server = Containerd(tmp_path_factory.mktemp("ctrd"))
    try:
        server.wait_ready()
        server.import_image(pause_image())
        server.import_image(hello_image(play.IMAGE))
        yield server
    finally:
        server.stop()


@pytest.fixture
def podwright(
    containerd: Containerd, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    podwright = CommandLine(containerd.socket, capfd, monkeypatch)
    yield podwright
    podwright.ok("rm", "--all", "--force", "--time", "0")


CHECKS = (play.check_example, play.check_whole_manifest, play.check_failing_init, play.check_second_plays)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_play(check: Callable[[CommandLine, Path], None], podwright: CommandLine, tmp_path: Path) -> None:
    check(podwright, tmp_path)


@pytest.mark.parametrize("check", remote.CHECKS, ids=lambda check: check.__name__)
def test_streams(check: Callable[[CommandLine, Path], None], podwright: CommandLine, tmp_path: Path) -> None:
    check(podwright, tmp_path)


def test_status(podwright: CommandLine) -> None:
    assert "runtime containerd" in podwright.ok("version")
    assert "RuntimeReady   ok" in podwright.ok("status")


def test_what_only_podwright_offers(podwright: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "x.tar").touch()
    result = podwright("image", "load", tmp_path / "x.tar")
    assert result.code == 1
    assert result.err.startswith("podwright: the runtime at ")
    assert "doesn't offer this" in result.err


def test_exec_logs_stats(podwright: CommandLine, tmp_path: Path) -> None:
    player = play.Player(podwright, tmp_path)
    player.write({"terminationGracePeriodSeconds": 1, "containers": [play.sleeper(script="echo hello")]})
    assert player.play().code == 0
    result = podwright("exec", player.name, "sh", "-c", "echo out; exit 3")
    assert (result.code, result.out) == (3, "out\n")
    play.wait_for(lambda: player.log("main") == "hello\n", lambda: player.log("main"))
    assert " main " in podwright.ok("stats", f"{player.name}/main")
    assert podwright("inspect", f"{player.name}/main").json["info"]["pid"] > 0
    player.down()
