"""podwright-vm by its command line, as a monitor calls it: one machine, and what happens to it and its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - the program is started as a monitor would
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podwright.vm.virtiofsd import find_virtiofsd
from tests.support import names
from tests.support.rootfs import busybox_rootfs

pytestmark = pytest.mark.root

PROGRAM = Path(sys.executable).with_name("podwright-vm")
SANDBOX = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "pod"}
CONTAINER = {**SANDBOX, "io.kubernetes.cri.container-type": "container"}
TIMEOUT_S = 200


class Runtime:
    """The program with a state directory; bundles are made of busybox."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.state = directory, directory / "state"
        self.cgroup = names.cgroup()
        self.settings = directory / "vm.toml"
        self.settings.write_text("")
        self._rootfs = directory / "rootfs"
        busybox_rootfs(self._rootfs)

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        argv: list[str | Path] = [PROGRAM, "--root", self.state, "--config", self.settings, *words]
        return subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=False, **options)

    def bundle(self, name: str, command: str, annotations: dict[str, str]) -> Path:
        bundle = self.directory / name
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps({
            "ociVersion": "1.0.2",
            "process": {"args": ["sh", "-c", command], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": str(self._rootfs)},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "annotations": annotations,
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "network", "ipc", "uts")],
                "cgroupsPath": f"{self.cgroup}/{name}",
            },
        }))  # fmt: skip
        return bundle

    def create(self, name: str, command: str, annotations: dict[str, str]) -> subprocess.Popen[bytes]:
        """Its output is in the bundle."""
        return self.create_from(self.bundle(name, command, annotations))

    def create_from(self, bundle: Path) -> subprocess.Popen[bytes]:
        """Its name is the bundle's."""
        with (bundle / "output").open("wb") as output:
            options: list[str | Path] = ["--bundle", bundle, "--pid-file", bundle / "pid"]
            argv = [str(PROGRAM), "--root", self.state, "--config", self.settings, "create", *options, bundle.name]
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def run(self, name: str, command: str, annotations: dict[str, str]) -> int:
        """Created and started; its process on the host."""
        assert self.create(name, command, annotations).wait(TIMEOUT_S) == 0, self.output(name)
        done = self.call("start", name)
        assert done.returncode == 0, done.stderr
        return int((self.directory / name / "pid").read_text())

    def output(self, name: str) -> str:
        return (self.directory / name / "output").read_text()

    def status(self, name: str) -> str:
        return str(json.loads(self.call("state", name).stdout)["status"])


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path)
    yield made
    for name in ("one", "two", "late", "pod"):
        made.call("delete", "--force", name)
    for directory in Path("/sys/fs/cgroup").glob(f"*{made.cgroup}"):
        directory.rmdir()
    assert list(made.state.iterdir()) == []


def until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # noqa: TID251 - no event loop here


def test_one_machine(runtime: Runtime) -> None:
    """A creation that is killed is taken down by delete; readers who leave, carriers that die, signals, and the end."""
    creating = runtime.create("pod", "sleep 1000", SANDBOX)
    until((runtime.state / "pod/machine/keeper.pid").exists)
    keeper = int((runtime.state / "pod/machine/keeper.pid").read_text().split()[0])
    creating.kill()
    creating.wait()
    assert runtime.call("delete", "--force", "pod").returncode == 0
    assert not Path(f"/proc/{keeper}/exe").exists()
    (runtime.directory / "pod").rename(runtime.directory / "broken-off")

    runtime.run("pod", "trap 'exit 9' TERM; while :; do sleep 0.1; done", SANDBOX)
    words = f"{PROGRAM} --root {runtime.state} exec pod yes | head -n 1"
    assert subprocess.run(["sh", "-c", words], capture_output=True, timeout=60, check=True).stdout == b"y\n"

    runtime.run("one", "echo begun; trap 'exit 5' USR1; while :; do sleep 0.1; done", CONTAINER)
    until(lambda: runtime.output("one") == "begun\n")
    os.kill(int((runtime.directory / "one/pid").read_text()), signal.SIGUSR1)
    until(lambda: runtime.status("one") == "stopped")
    assert json.loads((runtime.state / "one/end.json").read_bytes())["code"] == 5

    carrier = runtime.run("two", "sleep 1000", CONTAINER)
    os.kill(carrier, signal.SIGKILL)
    until(lambda: b"two" not in runtime.call("list", "-q").stdout or runtime.status("two") == "stopped")
    until(lambda: b"sleep 1000" not in runtime.call("ps", "two").stdout)

    assert runtime.call("pause", "pod").returncode == 0
    assert runtime.status("pod") == "paused"
    assert runtime.call("resume", "pod").returncode == 0
    assert runtime.call("kill", "pod", "TERM").returncode == 0
    until(lambda: runtime.status("pod") == "stopped")
    late = runtime.create("late", "true", CONTAINER)
    assert late.wait(TIMEOUT_S) == 1
    assert "the virtual machine does not run" in runtime.output("late")


def child(pid: int, word: bytes) -> int:
    """The pid of a child that has `word` in its command line."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(each) for each in children if word in Path(f"/proc/{each}/cmdline").read_bytes())


def why_it_ended(runtime: Runtime, name: str) -> str:
    until(lambda: runtime.status(name) == "stopped")
    end = json.loads((runtime.state / name / "end.json").read_bytes())
    assert end["code"] == 137
    return str(end["lost"])


def test_a_machine_with_pci_whose_agent_falls_silent(runtime: Runtime) -> None:
    """The same pod on the other board. When nobody answers any more, the containers end, with the reason."""
    runtime.settings.write_text('machine = "q35"\nagent_timeout_s = 1.5\n')
    keeper = runtime.run("pod", "sleep 1000", SANDBOX)
    runtime.run("one", "wc -l < /proc/bus/pci/devices; sleep 1000", CONTAINER)
    until(lambda: runtime.output("one").strip())
    assert int(runtime.output("one")) > 5
    machine = child(keeper, b"-kernel")
    os.kill(machine, signal.SIGSTOP)
    assert why_it_ended(runtime, "one") == why_it_ended(runtime, "pod")
    assert "the pod's virtual machine has ended: its agent was silent for 1.5 s" in why_it_ended(runtime, "pod")
    assert not Path(f"/proc/{machine}/exe").exists()


def test_a_machine_without_its_files_ends(runtime: Runtime) -> None:
    keeper = runtime.run("pod", "sleep 1000", SANDBOX)
    os.kill(child(keeper, b"virtiofsd"), signal.SIGKILL)
    assert "virtiofsd, which has its files, is gone" in why_it_ended(runtime, "pod")


def test_files_by_9p_where_there_is_no_virtiofsd(runtime: Runtime) -> None:
    """Containers that come later, and their volumes, are seen; what is made has its owner and mode; and QEMU,
    which has rights over these files, has no other in sight."""
    runtime.settings.write_text('share = "9p"\n')
    keeper = runtime.run("pod", "sleep 1000", SANDBOX)
    qemu = child(keeper, b"-kernel")
    seen = {path.name for path in Path(f"/proc/{qemu}/root").iterdir()}
    system = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt"}
    assert seen - system == {"etc", "dev", "proc", "old", "share"}
    assert not list(Path(f"/proc/{qemu}/root/old").iterdir())
    assert not Path(f"/proc/{qemu}/root/proc/sysrq-trigger").exists()
    volume = runtime.directory / "volume"
    volume.mkdir(mode=0o755)
    (volume / "from-host").write_text("host\n")
    os.chown(volume, 1000, 1000)
    words = (
        "cat /volume/from-host; cd /volume; umask 027; echo made > file; chown 1000:1001 file; ln -s file link; "
        "rm from-host; stat -c '%u %g %a' file; grep -c '^podwright /.* 9p ' /proc/mounts"
    )
    bundle = runtime.bundle("one", words, CONTAINER)
    document = json.loads((bundle / "config.json").read_bytes())
    document["mounts"].append(
        {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind", "rw"]}
    )
    document["process"]["capabilities"] = {
        kind: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"] for kind in ("bounding", "effective", "permitted")
    }
    (bundle / "config.json").write_text(json.dumps(document))
    assert runtime.create_from(bundle).wait(TIMEOUT_S) == 0, runtime.output("one")
    assert runtime.call("start", "one").returncode == 0
    until(lambda: runtime.status("one") == "stopped")
    assert runtime.output("one").splitlines() == ["host", "1000 1001 640", "2"]
    made = (volume / "file").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (1000, 1001, 0o640)
    assert (volume / "link").readlink() == Path("file")
    assert not (volume / "from-host").exists()


def test_virtiofs_without_virtiofsd_says_what_to_install(runtime: Runtime) -> None:
    runtime.settings.write_text('share = "virtiofs"\n')
    hidden = f"mount --bind /dev/null {find_virtiofsd()}"
    argv = f"{hidden} && exec {PROGRAM} --root {runtime.state} --config {runtime.settings} create --bundle $0 pod"
    bundle = runtime.bundle("pod", "true", SANDBOX)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", argv, bundle], capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 1
    assert b"share is virtiofs, and virtiofsd is missing: install virtiofsd" in done.stderr
