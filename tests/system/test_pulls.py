"""Pulls in flight, seen through the daemon's socket: shared, watched, cancelled, broken off, killed and resumed.

The registry is one that misbehaves on demand; it runs in the test's event loop, and calls to the daemon in threads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web

from podwright.criapi import api_pb2 as pb
from podwright.criapi import podwright_pb2 as own
from tests.support import names
from tests.support.daemon import HELLO, Daemon
from tests.support.fake_registry import Answer, FakeRegistry, broken_after, fake_registry
from tests.support.images import HELLO_LAYER, find, listed, marker, pull, refusal, registry_config, remove, serve_image
from tests.support.registry import PushedImage, make_image, tar_layer

pytestmark = pytest.mark.root

HALF = 5_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("p"), config=registry_config(tmp_path_factory.mktemp("etc")))
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.remove_everything()


@pytest.fixture
def daemon(server: Daemon) -> Iterator[Daemon]:
    """One daemon for all tests; after each of them, and the removal of its images, it stores nothing."""
    yield server
    for image in listed(server):
        remove(server, image.id)
    server.wait_until_nothing_is_stored()


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as running:
        yield running


def big_image(fake: FakeRegistry) -> tuple[str, PushedImage]:
    """Served by `fake`: a small layer, and one of ten megabytes that doesn't compress."""
    random = tar_layer({"big": os.urandom(2 * HALF)})
    image = make_image(names.unique("app"), "v1", [marker(names.unique("m")), random], compression="")
    return serve_image(fake, image), image


class Stall:
    """A fault: the blob's second half comes only after `go`. `reached` is set when the first half is out."""

    def __init__(self, digest: str, data: bytes) -> None:
        self.digest, self.data = digest, data
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.broken = asyncio.Event()

    async def __call__(self, request: web.Request) -> Answer:
        if self.go.is_set() or not request.path.endswith(self.digest):
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(self.data))})
        await response.prepare(request)
        await response.write(self.data[:HALF])
        self.reached.set()
        try:
            await self.go.wait()
            await response.write(self.data[HALF:])
        except (ConnectionError, asyncio.CancelledError):
            self.broken.set()
            raise
        return response


def stalled(fake: FakeRegistry, image: PushedImage) -> Stall:
    stall = Stall(image.layer_digests[1], image.layers[1])
    fake.faults.append(stall)
    return stall


@asynccontextmanager
async def pulling(daemon: Daemon, name: str, count: int = 1) -> AsyncIterator[list[Any]]:
    """PullImage under way, as gRPC futures."""
    request = pb.PullImageRequest(image=pb.ImageSpec(image=name))
    calls = [daemon.images.PullImage.future(request, timeout=60) for _ in range(count)]
    try:
        yield calls
    finally:
        for call in calls:
            call.cancel()


async def until(met: Callable[[], bool], what: str) -> None:
    for _ in range(1000):
        if await asyncio.to_thread(met):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


def partial_bytes(daemon: Daemon) -> int:
    return sum(path.stat().st_size for path in (daemon.root / "content/ingest").iterdir())


async def test_pulls_at_the_same_time_are_one(daemon: Daemon, fake: FakeRegistry) -> None:
    name, image = big_image(fake)
    stall = stalled(fake, image)
    async with pulling(daemon, name, 6) as calls:
        await asyncio.wait_for(stall.reached.wait(), 10)
        stall.go.set()
        ids = [(await asyncio.to_thread(call.result)).image_ref for call in calls]
    assert ids == [image.config_digest] * 6
    for digest in [image.config_digest, *image.layer_digests]:
        assert len(fake.requests(digest)) == 1, "each blob came once"


async def test_one_that_gives_up_leaves_the_others_their_pull(daemon: Daemon, fake: FakeRegistry) -> None:
    name, image = big_image(fake)
    stall = stalled(fake, image)
    async with pulling(daemon, name, 2) as calls:
        await asyncio.wait_for(stall.reached.wait(), 10)
        calls[0].cancel()
        await asyncio.sleep(0.05)
        stall.go.set()
        assert (await asyncio.to_thread(calls[1].result)).image_ref == image.config_digest
    assert len(fake.requests(image.layer_digests[1])) == 1


async def test_progress(daemon: Daemon, fake: FakeRegistry) -> None:
    name, image = big_image(fake)
    stall = stalled(fake, image)
    stream = daemon.podwright.PullProgress(own.PullProgressRequest(image=name), timeout=30)
    events: list[own.PullProgressEvent] = []
    watching = asyncio.create_task(asyncio.to_thread(events.extend, stream))  # noqa: TID251
    async with pulling(daemon, name) as (call,):
        await asyncio.wait_for(stall.reached.wait(), 10)
        second = daemon.podwright.PullProgress(own.PullProgressRequest(image=name), timeout=30)
        now = await asyncio.to_thread(next, second)
        assert [layer.digest for layer in now.layers] == image.layer_digests, "who comes late sees the state at once"
        second.cancel()
        await asyncio.sleep(0.3)
        stall.go.set()
        await asyncio.to_thread(call.result)
    await watching
    last = events[-1]
    assert (last.reference, last.finished, last.error) == (name, True, "")
    assert [layer.phase for layer in last.layers] == [own.LayerProgress.DONE] * 2
    assert [layer.bytes_done for layer in last.layers] == [len(data) for data in image.layers]
    halves = [event.layers[1] for event in events if event.layers and 0 < event.layers[1].bytes_done < 2 * HALF]
    assert [layer for layer in halves if layer.phase == own.LayerProgress.FETCHING and layer.bytes_done == HALF]
    assert all(layer.bytes_total == len(image.layers[1]) for layer in halves)
    assert all(not event.finished for event in events[:-1])


async def test_progress_of_a_pull_that_fails(daemon: Daemon, fake: FakeRegistry) -> None:
    name = f"{fake.address}/nothing:v1"
    stream = daemon.podwright.PullProgress(own.PullProgressRequest(image=name), timeout=30)
    watching = asyncio.create_task(asyncio.to_thread(list, stream))  # noqa: TID251
    await asyncio.sleep(0.1)
    code, words = await asyncio.to_thread(refusal, lambda: pull(daemon, name))
    assert code == grpc.StatusCode.NOT_FOUND
    assert (await watching)[-1] == own.PullProgressEvent(reference=name, finished=True, error=words)


async def test_a_cancelled_pull_stops_at_once_and_the_next_one_resumes(daemon: Daemon, fake: FakeRegistry) -> None:
    name, image = big_image(fake)
    stall = stalled(fake, image)
    async with pulling(daemon, name) as (call,):
        await asyncio.wait_for(stall.reached.wait(), 10)
        await until(lambda: "ingest" in "".join(daemon.stored()), "the download never began")
        call.cancel()
        await until(lambda: partial_bytes(daemon) > 0, "what had come was thrown away")
    assert find(daemon, name) is None
    await until(lambda: not list((daemon.root / "snapshots/staging").iterdir()), "half a layer is left")
    stall.go.set()
    await until(stall.broken.is_set, "the daemon still holds its connection")
    have = await settled_bytes(daemon)
    assert await asyncio.to_thread(pull, daemon, name) == image.config_digest
    ranges = [seen.headers.get("Range") for seen in fake.requests(image.layer_digests[1])]
    assert ranges[0] is None
    assert [word for word in ranges[1:] if word and word.startswith(f"bytes={have}-")], (ranges, have)
    assert len(fake.requests(image.layer_digests[0])) == 1, "the layer that was whole was not fetched again"


async def settled_bytes(daemon: Daemon) -> int:
    last = -1
    while (now := partial_bytes(daemon)) != last:
        last = now
        await asyncio.sleep(0.1)
    return last


async def test_a_deadline_ends_the_pull(daemon: Daemon, fake: FakeRegistry) -> None:
    hung_up = asyncio.Event()

    async def silent(request: web.Request) -> Answer:
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        hung_up.set()
        return web.Response(status=500)

    fake.faults.append(silent)
    code, _ = await asyncio.to_thread(refusal, lambda: pull(daemon, f"{fake.address}/app:v1", timeout=0.3))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(hung_up.wait(), 5)
    fake.faults.clear()
    code, _ = await asyncio.to_thread(refusal, lambda: pull(daemon, f"{fake.address}/app:v1"))
    assert code == grpc.StatusCode.NOT_FOUND, "the next call doesn't join the one that was given up"


def breaking(
    image: PushedImage, count: int, times: int
) -> tuple[list[str], Callable[[web.Request], Awaitable[Answer]]]:
    """A fault: the first `times` answers for the big layer break after `count` bytes. And the ranges asked for."""
    ranges: list[str] = []

    async def fault(request: web.Request) -> Answer:
        nonlocal times
        if not request.path.endswith(image.layer_digests[1]):
            return None
        ranges.append(request.headers.get("Range", ""))
        if times == 0:
            return None
        times -= 1
        data, start = image.layers[1], 0
        if wanted := request.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            return await broken_after(request, data[start:], count, 206, **headers)
        return await broken_after(request, data, count)

    return ranges, fault


async def test_a_broken_connection_is_mended_within_the_pull(daemon: Daemon, fake: FakeRegistry) -> None:
    name, image = big_image(fake)
    ranges, fault = breaking(image, 3_000_000, 2)
    fake.faults.append(fault)
    assert await asyncio.to_thread(pull, daemon, name) == image.config_digest
    assert ranges[0] == ""
    assert any(word not in ("", "bytes=0-") for word in ranges[1:]), ranges


async def test_a_pull_after_a_broken_one_goes_on_where_that_ended(daemon: Daemon, fake: FakeRegistry) -> None:
    name, image = big_image(fake)
    _, fault = breaking(image, 100_000, 1)

    async def down(request: web.Request) -> Answer:
        answer = await fault(request)
        if answer is None and request.path.endswith(image.layer_digests[1]):
            return web.Response(status=503)
        return answer

    fake.faults.append(down)
    code, words = await asyncio.to_thread(refusal, lambda: pull(daemon, name))
    assert code == grpc.StatusCode.UNKNOWN
    assert words.startswith("RegistryUnavailable")
    assert fake.address in words
    assert find(daemon, name) is None
    assert partial_bytes(daemon) == 100_000
    fake.faults.clear()
    before = len(fake.seen)
    assert await asyncio.to_thread(pull, daemon, name) == image.config_digest
    again = [seen for seen in fake.seen[before:] if seen.path.endswith(image.layer_digests[1])]
    assert again[0].headers["Range"].startswith("bytes=100000-")


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """One that may be killed."""
    daemon = Daemon(tmp_path, config=registry_config(tmp_path / "etc"))
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


def by_id(daemon: Daemon) -> list[pb.Image]:
    return sorted(listed(daemon), key=lambda image: image.id)


async def test_images_survive_a_restart(own_daemon: Daemon, fake: FakeRegistry) -> None:
    image = make_image("app", "v1", [HELLO_LAYER, marker("kept")])
    name = serve_image(fake, image)
    await asyncio.to_thread(pull, own_daemon, name)
    own_daemon.load_hello()
    before = by_id(own_daemon)
    stored = own_daemon.stored()
    await asyncio.to_thread(own_daemon.restart)
    assert by_id(own_daemon) == before
    assert own_daemon.stored() == stored
    container = own_daemon.run_container(own_daemon.run_pod(host_network=True), "sleep", "1000", image=name)
    assert own_daemon.exec(container, "cat", "/marks/kept").stdout == b"kept"
    await asyncio.to_thread(own_daemon.kill)
    await asyncio.to_thread(own_daemon.start)
    assert by_id(own_daemon) == before
    remove(own_daemon, HELLO)
    assert [item.id for item in listed(own_daemon)] == [image.config_digest]


async def test_killed_in_the_middle_of_a_pull(own_daemon: Daemon, fake: FakeRegistry) -> None:
    name, image = big_image(fake)
    stall = stalled(fake, image)
    async with pulling(own_daemon, name):
        await asyncio.wait_for(stall.reached.wait(), 10)
        await until(
            lambda: image.layer_digests[0].partition(":")[2] in "".join(own_daemon.stored()), "the first layer is due"
        )
        await asyncio.to_thread(own_daemon.kill)
    stall.go.set()
    await asyncio.to_thread(own_daemon.start)
    assert listed(own_daemon) == []
    await until(
        lambda: all(path.startswith("content/ingest/") for path in own_daemon.stored()),
        "what no image refers to is swept; only the beginning of a download may wait for its end",
    )
    assert await asyncio.to_thread(pull, own_daemon, name) == image.config_digest
    assert partial_bytes(own_daemon) == 0
    remove(own_daemon, name)
    await asyncio.to_thread(own_daemon.wait_until_nothing_is_stored)
