"""One virtual machine for all tests of the agent: a boot takes seconds where the processor is emulated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine.kernel import kernel

from podwright.vm.build_guest import Guest, GuestSettings, guest
from tests.support.guest import Client, Machine
from tests.support.rootfs import busybox_rootfs

CHECKOUT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def guest_settings(tmp_path_factory: pytest.TempPathFactory) -> GuestSettings:
    """With the kernel that `make machine` uses, which is downloaded if need be: the same on every host."""
    linux = kernel(CHECKOUT / ".machine/kernel")
    directory = tmp_path_factory.mktemp("guest")
    return GuestSettings(directory, kernel=linux.image, kernel_modules=linux.modules)


@pytest.fixture(scope="session")
def built(guest_settings: GuestSettings) -> Guest:
    return guest(guest_settings)


@pytest.fixture(scope="session")
def machine(built: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(built, tmp_path_factory.mktemp("vm")) as running:
        busybox_rootfs(running.share / "busybox")
        yield running


@pytest.fixture(scope="session")
def client(machine: Machine) -> Iterator[Client]:
    """Connected, and greeted. In the end the machine is asked to go, whatever runs in it."""
    connected = machine.connect()
    connected.notice("hello")
    yield connected
    spec = {"process": {"args": ["sleep", "1000"], "env": ["PATH=/bin"]}}
    connected.ask("create", id="last", rootfs="share:busybox", spec=spec, streams={})
    connected.ask("start", id="last")
    assert connected.ask("shutdown") == {}
    assert connected.notice("exit", id="last")["code"] == 137
    assert machine.wait() == 0, machine.words()
    connected.close()
