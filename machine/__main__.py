"""`python -m machine [--timeout SECONDS] [pytest's arguments]`: boot, run the tests, end with their exit status."""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

from machine.initramfs import initramfs
from machine.kernel import kernel
from machine.qemu import Machine

CHECKOUT = Path(__file__).parent.parent
MODULES = ["virtio_mmio", "virtiofs", "overlay", "virtio_console", "qemu_fw_cfg"]
DEFAULT_TESTS = ["tests/root/cgroup", "tests/machine"]
DEFAULT_TIMEOUT_S = 1200.0


def chosen(words: list[str]) -> list[str]:
    """pytest's arguments: all of the machine's tests, unless some of them are paths."""
    named = any(not word.startswith("-") and Path(word.partition("::")[0]).exists() for word in words)
    return ["-q", *words, *([] if named else DEFAULT_TESTS)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m machine", description=sys.modules["machine"].__doc__)
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS")
    parser.add_argument("--console", action="store_true", help="show what the kernel and systemd say")
    options, words = parser.parse_known_args()
    if platform.machine() != "x86_64" or os.geteuid() != 0:
        raise SystemExit("machine: needs root on x86-64")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begun = time.monotonic()
    cache = CHECKOUT / ".machine"
    linux = kernel(cache / "kernel")
    for directory in ("src", "tests", "examples"):
        compileall.compile_dir(CHECKOUT / directory, quiet=1)  # the emulated processor would take a minute for it
    with tempfile.TemporaryDirectory(prefix="machine-") as scratch:
        archive = Path(scratch, "initramfs")
        archive.write_bytes(initramfs((CHECKOUT / "machine/guest/init").read_bytes(), linux.load_order(MODULES)))
        print(f"machine: booting Linux {linux.version}", flush=True)
        with Machine(CHECKOUT, Path(scratch), linux.image, archive, chosen(words)) as running:
            status = running.wait(begun + options.timeout)
            if options.console or status is None:
                print(running.console(), file=sys.stderr)
    print(f"machine: {time.monotonic() - begun:.0f} s", flush=True)
    if status is None:
        print("machine: the tests did not end", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
