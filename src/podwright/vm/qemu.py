"""QEMU's command line for a machine, as pure functions: virtio devices alone.

A microvm has no PCI and no firmware to speak of; a q35 has both, and is there in every QEMU for x86.
qemu-system-x86_64(1); docs/system/i386/microvm.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podwright.vm.sharing import NINE_P, VIRTIOFS
from podwright.wire.guest_frames import PORT_NAME

SHARE_TAG = "podwright"
SHARE_OPTION = "podwright.share"
"""On the kernel's command line: the way to the share, if it isn't virtiofs."""

MICROVM, Q35 = "microvm", "q35"
_BUS = {MICROVM: "device", Q35: "pci"}
_BOARD = {
    MICROVM: "memory-backend=memory,pit=off,pic=off,rtc=on,isa-serial=off",
    Q35: "memory-backend=memory,smbus=off,sata=off,usb=off,vmport=off",
}


@dataclass(frozen=True)
class Nic:
    """A network card on a tap that is open as descriptor `tap`."""

    tap: int
    mac: str
    mtu: int


@dataclass(frozen=True)
class Hardware:
    """A machine to start. Descriptors are QEMU's own: of connected sockets, and of files opened for reading.

    `machine`: MICROVM or Q35; `agent`: the agent's stream; `console`: what the kernel says; `share`: virtiofsd's, or
    the directory that QEMU itself serves by 9p.
    """

    machine: str
    accelerator: str
    memory_bytes: int
    cpus: int
    kernel: int
    initrd: int
    agent: int
    console: int
    share: int | str
    nics: Sequence[Nic] = ()

    def descriptors(self) -> list[int]:
        """All that QEMU has to inherit."""
        share = [self.share] if isinstance(self.share, int) else []
        return [self.kernel, self.initrd, self.agent, self.console, *share, *(nic.tap for nic in self.nics)]


def arguments(hardware: Hardware) -> list[str]:
    """What follows the program's name."""
    bus = _BUS[hardware.machine]
    words = [
        "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-M", f"{hardware.machine},accel={hardware.accelerator},{_BOARD[hardware.machine]}",
        "-cpu", "host" if hardware.accelerator == "kvm" else "max",
        "-smp", str(hardware.cpus), "-m", f"{hardware.memory_bytes}B",
        "-object", f"memory-backend-memfd,id=memory,size={hardware.memory_bytes},share=on",
        "-global", "virtio-mmio.force-legacy=false",
        "-kernel", f"/proc/self/fd/{hardware.kernel}", "-initrd", f"/proc/self/fd/{hardware.initrd}",
        "-append", kernel_command_line(hardware.accelerator, NINE_P if isinstance(hardware.share, str) else VIRTIOFS),
        "-object", "rng-builtin,id=random", "-device", f"virtio-rng-{bus},rng=random",
        "-device", f"virtio-balloon-{bus},free-page-reporting=on",
        "-device", f"virtio-serial-{bus}",
        "-chardev", f"socket,id=console,fd={hardware.console}", "-device", "virtconsole,chardev=console",
        "-chardev", f"socket,id=agent,fd={hardware.agent}",
        "-device", f"virtserialport,chardev=agent,name={PORT_NAME}",
        *_share(hardware.share, bus),
    ]  # fmt: skip
    no_rom = ",romfile=" if hardware.machine == Q35 else ""  # nobody boots from the network
    for number, nic in enumerate(hardware.nics):
        words += ["-netdev", f"tap,id=net{number},fd={nic.tap}"]
        words += ["-device", f"virtio-net-{bus},netdev=net{number},mac={nic.mac},host_mtu={nic.mtu}{no_rom}"]
    return words


def _share(share: int | str, bus: str) -> list[str]:
    """Files have the owners and modes that the machine gives them; inode numbers of different mounts don't collide."""
    if isinstance(share, str):
        return [
            "-fsdev", f"local,id=share,path={share},security_model=passthrough,multidevs=remap",
            "-device", f"virtio-9p-{bus},fsdev=share,mount_tag={SHARE_TAG}",
        ]  # fmt: skip
    return [
        "-chardev", f"socket,id=share,fd={share}", "-device", f"vhost-user-fs-{bus},chardev=share,tag={SHARE_TAG}",
    ]  # fmt: skip


def kernel_command_line(accelerator: str, share: str = VIRTIOFS) -> str:
    """Panics end the machine at once. Emulated, the calibration of the time stamp counter hangs some boots: so its
    frequency is told, and trusted."""
    words = ["console=hvc0", "quiet", "loglevel=4", "panic=-1", "reboot=t", "cgroup_no_v1=all", "mitigations=auto"]
    if accelerator == "tcg":
        words += ["tsc_early_khz=2000000", "mitigations=off"]
    if share != VIRTIOFS:
        words.append(f"{SHARE_OPTION}={share}")
    return " ".join(words)
