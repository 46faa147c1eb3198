"""How large machines are."""

from __future__ import annotations

import pytest

from podwright.oci.runtime_spec import Cpu, LinuxResources, Memory
from podwright.vm.settings import Settings
from podwright.vm.size import cpus, memory_bytes

MIB = 1 << 20
POD = {
    "io.kubernetes.cri.sandbox-memory": str(300 * MIB),
    "io.kubernetes.cri.sandbox-cpu-quota": "150000",
    "io.kubernetes.cri.sandbox-cpu-period": "100000",
}


def test_a_pods_limits_and_what_the_machine_needs_itself() -> None:
    settings = Settings(overhead_mib=100)
    assert memory_bytes(settings, POD, None) == 400 * MIB
    assert cpus(settings, POD, None, of_host=8) == 2
    assert cpus(settings, POD, None, of_host=1) == 1, "no more than the host has"


def test_those_of_a_container_that_has_a_machine_to_itself() -> None:
    resources = LinuxResources(memory=Memory(limit=33 * MIB), cpu=Cpu(quota=350_000, period=100_000))
    assert memory_bytes(Settings(overhead_mib=100), {}, resources) == 134 * MIB, "in pages of 2 MiB"
    assert cpus(Settings(), {}, resources, of_host=8) == 4


@pytest.mark.parametrize("annotations", [{}, {"io.kubernetes.cri.sandbox-memory": "0"}, POD | dict.fromkeys(POD, "x")])
def test_without_limits_the_settings_count(annotations: dict[str, str]) -> None:
    settings = Settings(memory_mib=512, cpus=3)
    unlimited = LinuxResources(memory=Memory(limit=-1), cpu=Cpu(quota=-1))
    assert memory_bytes(settings, annotations, unlimited) == 512 * MIB
    assert cpus(settings, annotations, unlimited, of_host=8) == 3
    assert cpus(Settings(cpus=0), annotations, None, of_host=8) == 8
