"""The programs the bench runs: found, run to their end, or kept running. The bench's only use of subprocess."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Where a bare PATH (cron, a service) would miss programs that the bench needs.
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"

PACKAGES = {
    "busybox": "busybox-static",
    "catatonit": "catatonit",
    "containerd": "containerd",
    "conmon": "conmon",
    "crun": "crun",
    "debootstrap": "debootstrap",
    "dockerd": "docker.io",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "runc": "runc",
    "skopeo": "skopeo",
    "zstd": "zstd",
}


class ProgramError(RuntimeError):
    """A program is missing, failed, or did not get ready; the text says which and what it printed."""


def find(name: str) -> Path:
    """The absolute path of a program; ProgramError names its Debian package."""
    path = shutil.which(name)
    if path is None:
        raise ProgramError(f"{name} is not installed: apt-get install {PACKAGES.get(name, name)}")
    return Path(path)


def run(
    *argv: str | Path, stdin: bytes | None = None, env: Mapping[str, str] | None = None, timeout_s: float = 600
) -> bytes:
    """Run a program to its end and return what it printed; ProgramError carries its standard error."""
    result = subprocess.run(
        [os.fspath(word) for word in argv],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=timeout_s,
        check=False,
    )
    if result.returncode != 0:
        said = (result.stderr or result.stdout).decode(errors="replace").strip()
        raise ProgramError(f"{' '.join(map(str, argv))}: exit status {result.returncode}: {said[-2000:]}")
    return result.stdout


def run_detached(*argv: str | Path, output: Path) -> None:
    """Run a program that leaves children with its standard streams, such as `runc create`: no pipe to wait on."""
    with output.open("ab") as log:
        status = subprocess.run(
            [os.fspath(word) for word in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        ).returncode
    if status != 0:
        raise ProgramError(f"{' '.join(map(str, argv))}: exit status {status}, see {output}")


def pipeline(command: str) -> None:
    """Run a shell pipeline; ProgramError when any part fails."""
    run("bash", "-o", "pipefail", "-c", command)


class Service:
    """A program that runs until `stop`, its output in a log file."""

    def __init__(self, name: str, argv: list[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [os.fspath(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                # A terminal's ^C is for the bench, which then stops its services in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise ProgramError when the program has ended, with the end of its log."""
        if self._process.poll() is not None:
            raise ProgramError(f"{self.name} ended with status {self._process.returncode}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, grace_s: float = 20) -> None:
        """SIGTERM, then SIGKILL to this process alone: what it started belongs to pods that may live on."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
