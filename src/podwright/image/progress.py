"""The progress of pulls: the one source that the log, the command line and the metrics read.

A pull reports to its `PullTracker`; `ProgressBoard.watch` gives what it says to anybody who asks, as often as it
changes but a few times a second at most.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from podwright.base.log import get_logger
from podwright.oci.digest import Digest

log = get_logger(__name__)
_WATCH_INTERVAL_S = 0.2


class Phase(enum.Enum):
    """Where a layer is. EXISTS: it was here before the pull began."""

    WAITING = "waiting"
    FETCHING = "fetching"
    UNPACKING = "unpacking"
    DONE = "done"
    EXISTS = "exists"


@dataclass(frozen=True)
class LayerProgress:
    """One layer, by its blob's digest. Bytes are compressed ones that arrived."""

    digest: Digest
    phase: Phase
    bytes_done: int
    bytes_total: int


@dataclass(frozen=True)
class PullProgress:
    """One pull. `layers` is empty until the manifest is known; `error` is why it failed, once `finished`."""

    reference: str
    layers: tuple[LayerProgress, ...] = ()
    finished: bool = False
    error: str = ""

    @property
    def bytes_done(self) -> int:
        return sum(layer.bytes_done for layer in self.layers)

    @property
    def bytes_total(self) -> int:
        return sum(layer.bytes_total for layer in self.layers)

    def count(self, *phases: Phase) -> int:
        return sum(1 for layer in self.layers if layer.phase in phases)


class PullTracker:
    """What one pull reports to. All calls come from the event loop's thread."""

    def __init__(self, reference: str) -> None:
        self.state = PullProgress(reference)
        self.started = time.monotonic()
        self.changed = asyncio.Event()

    def layers_known(self, layers: list[tuple[Digest, int]]) -> None:
        """The manifest is here: digest and size of each layer."""
        self._set(layers=tuple(LayerProgress(digest, Phase.WAITING, 0, size) for digest, size in layers))

    def phase(self, at: int, phase: Phase) -> None:
        """Layer number `at` begins a phase. A layer that is done, or was here, counts in full."""
        layer = self.state.layers[at]
        done = layer.bytes_total if phase in (Phase.DONE, Phase.EXISTS) else layer.bytes_done
        self._set_layer(at, replace(layer, phase=phase, bytes_done=done))

    def arrived(self, at: int, count: int) -> None:
        """`count` more bytes of layer number `at`; negative when some were thrown away."""
        layer = self.state.layers[at]
        self._set_layer(at, replace(layer, bytes_done=max(0, min(layer.bytes_done + count, layer.bytes_total))))

    def show(self, layers: tuple[LayerProgress, ...]) -> None:
        """All layers as they are now; for whoever is told of them rather than moving their bytes."""
        self._set(layers=layers)

    def finish(self, error: str = "") -> None:
        self._set(finished=True, error=error)

    def _set_layer(self, at: int, layer: LayerProgress) -> None:
        layers = self.state.layers
        self._set(layers=(*layers[:at], layer, *layers[at + 1 :]))

    def _set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def report(self, interval_s: float) -> None:
        """Log a line every `interval_s` until the pull has finished; the end is the pull's own to log."""
        while not self.state.finished:
            await asyncio.sleep(interval_s)
            state = self.state
            log.info(
                "pulling", image=state.reference, megabytes=round(state.bytes_done / 1e6, 1),
                of_megabytes=round(state.bytes_total / 1e6, 1), layers=len(state.layers),
                done=state.count(Phase.DONE, Phase.EXISTS), unpacking=state.count(Phase.UNPACKING),
            )  # fmt: skip


class ProgressBoard:
    """The trackers of the pulls that run, by full reference."""

    def __init__(self) -> None:
        self._trackers: dict[str, PullTracker] = {}
        self._begun = asyncio.Event()

    def begin(self, reference: str) -> PullTracker:
        tracker = self._trackers[reference] = PullTracker(reference)
        begun, self._begun = self._begun, asyncio.Event()
        begun.set()
        return tracker

    def end(self, tracker: PullTracker) -> None:
        if self._trackers.get(tracker.state.reference) is tracker:
            del self._trackers[tracker.state.reference]

    def running(self) -> list[PullProgress]:
        """All pulls that run now; for metrics and Status."""
        return [tracker.state for tracker in self._trackers.values()]

    async def watch(self, reference: str) -> AsyncIterator[PullProgress]:
        """The state now and after each change; ends with the one that is `finished`. Waits for a pull to begin."""
        while (tracker := self._trackers.get(reference)) is None:
            await self._begun.wait()
        while True:
            changed, state = tracker.changed, tracker.state
            yield state
            if state.finished:
                return
            await changed.wait()
            if not tracker.state.finished:
                await asyncio.sleep(_WATCH_INTERVAL_S)
