"""QEMU and the two programs that lend it the host's files. All of them end with the `with` block, or with us."""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

MEMORY = "2048M"
_VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd")
_STATUS = re.compile(rb"^machine: exit status (\d+)\r?$", re.MULTILINE)
# Without an early frequency some boots hang at the calibration of the time stamp counter, where it is emulated.
_COMMAND_LINE = (
    "console=ttyS0 tsc_early_khz=2000000 quiet loglevel=4 panic=-1 reboot=t psi=1 systemd.unit=machine.target "
    "systemd.default_standard_output=null systemd.show_status=false systemd.log_target=kmsg systemd.log_level=notice"
)
# The host's root, read-only for good: a bind mount that only virtiofsd sees.
_READ_ONLY = 'mount --bind "$0" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


class Machine:
    """A machine that runs. `words`: pytest's arguments."""

    def __init__(self, checkout: Path, scratch: Path, kernel: Path, initramfs: Path, words: Sequence[str]) -> None:
        self._checkout, self._scratch = checkout, scratch
        self._kernel, self._initramfs, self._words = kernel, initramfs, words
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Machine:
        try:
            self._share("root", Path("/"))
            self._share("checkout", self._checkout)
            self._qemu = self._start(self._argv(), stdout=subprocess.PIPE)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for child in reversed(self._children):
            child.kill()
            child.wait()

    def _start(self, argv: Sequence[str], *, stdout: int | None = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """A child that dies with us, whatever ends us."""
        with (self._scratch / "programs.log").open("ab") as log:
            child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL, stdout=stdout, stderr=log
            )
        self._children.append(child)
        return child

    def _share(self, tag: str, directory: Path) -> None:
        program = next((path for path in _VIRTIOFSD if os.access(path, os.X_OK)), None)
        if program is None:
            raise SystemExit("machine: virtiofsd is not installed")
        mount_point, socket = self._scratch / tag, self._scratch / f"{tag}.sock"
        mount_point.mkdir()
        argv = [program, f"--socket-path={socket}"]
        if program == _VIRTIOFSD[0]:
            argv += ["-o", f"source={mount_point}", "-o", "sandbox=chroot", "-o", "cache=always", "-o", "no_flock"]
        else:
            argv += ["--shared-dir", str(mount_point), "--sandbox", "chroot", "--cache", "always"]
        private = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _READ_ONLY]
        self._start([*private, str(directory), str(mount_point), *argv])
        deadline = time.monotonic() + 20
        while not socket.exists():
            if time.monotonic() > deadline or self._children[-1].poll() is not None:
                raise SystemExit(f"machine: virtiofsd does not serve {directory}:\n{self._log()}")
            time.sleep(0.02)

    def _argv(self) -> list[str]:
        argv = [
            "qemu-system-x86_64", "-M", "microvm,accel=tcg,rtc=on,memory-backend=memory", "-cpu", "max",
            "-smp", str(min(4, os.cpu_count() or 1)), "-m", MEMORY,
            "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-global", "virtio-mmio.force-legacy=false",
            "-kernel", str(self._kernel), "-initrd", str(self._initramfs),
            "-append", f"{_COMMAND_LINE} machine.checkout={self._checkout}",
            "-serial", f"file:{self._scratch / 'console'}",
            "-chardev", "stdio,id=output,signal=off",
            "-device", "virtio-serial-device", "-device", "virtconsole,chardev=output",
            "-object", "rng-builtin,id=rng", "-device", "virtio-rng-device,rng=rng",
            "-fw_cfg", f"name=opt/podwright/arguments,string={shlex.join(self._words).replace(',', ',,')}",
        ]  # fmt: skip
        for tag in ("root", "checkout"):
            argv += ["-chardev", f"socket,id={tag},path={self._scratch / tag}.sock"]
            argv += ["-device", f"vhost-user-fs-device,chardev={tag},tag={tag}"]
        return argv

    def wait(self, deadline: float) -> int | None:
        """Pass on what the tests print until the machine ends; their exit status, None without one."""
        output = self._qemu.stdout
        assert output is not None
        last = b""
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([output], [], [], left)[0]:
                break
            chunk = os.read(output.fileno(), 65536)
            if not chunk:
                break
            sys.stdout.buffer.write(chunk.replace(b"\r\n", b"\n"))
            sys.stdout.flush()
            last = (last + chunk)[-4096:]
        found = _STATUS.search(last)
        return int(found[1]) if found else None

    def console(self) -> str:
        """What the kernel and systemd said, and the programs on the host."""
        console = self._scratch / "console"
        return (console.read_text(errors="replace") if console.exists() else "")[-12000:] + self._log()

    def _log(self) -> str:
        return (self._scratch / "programs.log").read_text(errors="replace")[-2000:]
