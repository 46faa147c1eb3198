"""QEMU's command line and its jail, as far as safety hangs on them."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

from podwright.vm import jail, qemu


def hardware(accelerator: str, machine: str = qemu.MICROVM) -> qemu.Hardware:
    return qemu.Hardware(
        machine, accelerator, 512 << 20, 2, kernel=10, initrd=11, agent=12, console=13, share=14,
        nics=[qemu.Nic(15, "02:00:00:00:00:01", 1450)],
    )  # fmt: skip


def test_all_comes_by_descriptors() -> None:
    """QEMU opens nothing of the host by name."""
    words = qemu.arguments(hardware("tcg"))
    assert hardware("tcg").descriptors() == [10, 11, 12, 13, 14, 15]
    paths = [word for word in words if "/" in word]
    assert paths == ["/proc/self/fd/10", "/proc/self/fd/11"]
    assert words[words.index("-sandbox") + 1].startswith("on,")
    assert "virtio-net-device,netdev=net0,mac=02:00:00:00:00:01,host_mtu=1450" in words


def test_a_board_with_pci_has_the_same_devices_there() -> None:
    words = qemu.arguments(hardware("tcg", qemu.Q35))
    devices = [word.partition(",")[0] for before, word in pairwise(words) if before == "-device"]
    assert [name for name in devices if name.startswith(("virtio-", "vhost-"))] == [
        "virtio-rng-pci", "virtio-balloon-pci", "virtio-serial-pci", "vhost-user-fs-pci", "virtio-net-pci",
    ]  # fmt: skip


def test_only_emulated_clocks_are_told_their_frequency() -> None:
    assert "tsc_early_khz" in qemu.kernel_command_line("tcg")
    assert "tsc_early_khz" not in qemu.kernel_command_line("kvm")
    assert "host" in qemu.arguments(hardware("kvm"))


def test_each_machine_has_a_user_of_its_own() -> None:
    one, two = (jail.jailed(["qemu"], keeper=pid, kvm=False) for pid in (7, 8))
    user = one[one.index("--reuid") + 1]
    assert user != two[two.index("--reuid") + 1]
    assert int(user) > 1 << 20
    for word in ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups", "--net"):
        assert word in one
    assert one[-3:] == ["--pdeathsig", "KILL", "qemu"]


def test_files_that_qemu_serves_itself_are_all_that_it_sees() -> None:
    """Its rights over files are worth nothing elsewhere: it has a root of its own, and no others."""
    by_9p = dataclasses.replace(hardware("tcg"), share=jail.SHARE)
    assert 14 not in by_9p.descriptors()
    words = qemu.arguments(by_9p)
    assert "local,id=share,path=/share,security_model=passthrough,multidevs=remap" in words
    assert "virtio-9p-device,fsdev=share,mount_tag=podwright" in words
    assert words[words.index("-append") + 1].endswith("podwright.share=9p")
    jailed = jail.jailed_with_share(["qemu"], keeper=7, kvm=False, root=Path("/r"), share=Path("/s"))
    assert "pivot_root" in jailed[jailed.index("-c") + 1]
    assert jailed[jailed.index("-c") + 3 : jailed.index("setpriv")] == ["/r", "/s", "/dev/null /dev/urandom"]
    rights = next(word for word in jailed if word.startswith("--bounding-set="))
    assert rights.startswith("--bounding-set=-all,+chown,")
    assert not {"+sys_admin", "+sys_ptrace", "+sys_chroot", "+setuid"} & set(rights.partition("=")[2].split(","))
