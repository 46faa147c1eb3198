"""The lock of creations and tellings."""

from __future__ import annotations

import asyncio

import pytest

from podwright.nri.sections import Sections


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_creations_go_on_side_by_side() -> None:
    sections = Sections()
    async with sections.shared(), sections.shared():
        pass


async def test_a_telling_waits_for_open_sections_and_keeps_new_ones_out() -> None:
    sections, order = Sections(), []
    gate = asyncio.Event()

    async def create(name: str, until: asyncio.Event | None) -> None:
        async with sections.shared():
            order.append(f"{name} begins")
            if until is not None:
                await until.wait()
            order.append(f"{name} ends")

    async def tell() -> None:
        async with sections.exclusive(timeout_s=10):
            order.append("told")

    first = asyncio.gather(create("first", gate))
    await settle()
    rest = asyncio.gather(tell(), create("second", None))
    await settle()
    assert order == ["first begins"]
    gate.set()
    await first
    await rest
    assert order == ["first begins", "first ends", "told", "second begins", "second ends"]


async def test_a_telling_gives_up_and_lets_creations_go_on() -> None:
    sections = Sections()
    async with sections.shared():
        with pytest.raises(TimeoutError):
            async with sections.exclusive(timeout_s=0.01):
                pass
        async with sections.shared():
            pass


async def test_tellings_come_one_after_the_other() -> None:
    sections, inside = Sections(), 0

    async def tell() -> None:
        nonlocal inside
        async with sections.exclusive(timeout_s=10):
            inside += 1
            await settle()
            assert inside == 1
            inside -= 1

    await asyncio.gather(*(tell() for _ in range(5)))
