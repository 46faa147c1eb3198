"""QEMU's command line for a machine, as pure functions: no PCI, no firmware to speak of, virtio devices alone.

qemu-system-x86_64(1); docs/system/i386/microvm.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podwright.wire.guest_frames import PORT_NAME

SHARE_TAG = "podwright"


@dataclass(frozen=True)
class Nic:
    """A network card on a tap that is open as descriptor `tap`."""

    tap: int
    mac: str
    mtu: int


@dataclass(frozen=True)
class Hardware:
    """A machine to start. Descriptors are QEMU's own: of connected sockets, and of files opened for reading.

    `agent`: the agent's stream; `console`: what the kernel says; `share`: virtiofsd's.
    """

    accelerator: str
    memory_bytes: int
    cpus: int
    kernel: int
    initrd: int
    agent: int
    console: int
    share: int
    nics: Sequence[Nic] = ()

    def descriptors(self) -> list[int]:
        """All that QEMU has to inherit."""
        return [self.kernel, self.initrd, self.agent, self.console, self.share, *(nic.tap for nic in self.nics)]


def arguments(hardware: Hardware) -> list[str]:
    """What follows the program's name."""
    words = [
        "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-M", f"microvm,accel={hardware.accelerator},memory-backend=memory,pit=off,pic=off,rtc=on,isa-serial=off",
        "-cpu", "host" if hardware.accelerator == "kvm" else "max",
        "-smp", str(hardware.cpus), "-m", f"{hardware.memory_bytes}B",
        "-object", f"memory-backend-memfd,id=memory,size={hardware.memory_bytes},share=on",
        "-global", "virtio-mmio.force-legacy=false",
        "-kernel", f"/proc/self/fd/{hardware.kernel}", "-initrd", f"/proc/self/fd/{hardware.initrd}",
        "-append", kernel_command_line(hardware.accelerator),
        "-object", "rng-builtin,id=random", "-device", "virtio-rng-device,rng=random",
        "-device", "virtio-balloon-device,free-page-reporting=on",
        "-device", "virtio-serial-device",
        "-chardev", f"socket,id=console,fd={hardware.console}", "-device", "virtconsole,chardev=console",
        "-chardev", f"socket,id=agent,fd={hardware.agent}",
        "-device", f"virtserialport,chardev=agent,name={PORT_NAME}",
        "-chardev", f"socket,id=share,fd={hardware.share}",
        "-device", f"vhost-user-fs-device,chardev=share,tag={SHARE_TAG}",
    ]  # fmt: skip
    for number, nic in enumerate(hardware.nics):
        words += ["-netdev", f"tap,id=net{number},fd={nic.tap}"]
        words += ["-device", f"virtio-net-device,netdev=net{number},mac={nic.mac},host_mtu={nic.mtu}"]
    return words


def kernel_command_line(accelerator: str) -> str:
    """Panics end the machine at once. Emulated, the calibration of the time stamp counter hangs some boots: so its
    frequency is told, and trusted."""
    words = ["console=hvc0", "quiet", "loglevel=4", "panic=-1", "reboot=t", "cgroup_no_v1=all", "mitigations=auto"]
    if accelerator == "tcg":
        words += ["tsc_early_khz=2000000", "mitigations=off"]
    return " ".join(words)
