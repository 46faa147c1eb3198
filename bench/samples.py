"""Numbers measured, by metric and peer: medians, ranges, and the JSON that a run leaves behind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Summary:
    """Median and range of one metric for one peer."""

    median: float
    low: float
    high: float
    count: int


@dataclass
class Metric:
    """One thing measured; `unit` is ms, MiB, % or 1 (a count). Less is better in all of them."""

    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)

    def summary(self, peer: str) -> Summary | None:
        """The numbers of one peer; None when it was not measured."""
        values = self.samples.get(peer)
        return Summary(statistics.median(values), min(values), max(values), len(values)) if values else None


class Samples:
    """All metrics of one run, in the order they were first measured."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}

    def add(self, metric: str, peer: str, value: float, unit: str = "ms") -> None:
        """Note one sample."""
        self.metrics.setdefault(metric, Metric(unit)).samples.setdefault(peer, []).append(value)

    @contextmanager
    def timed(self, metric: str, peer: str) -> Iterator[None]:
        """Note how many milliseconds the block took; nothing when it fails."""
        begin = time.perf_counter()
        yield
        self.add(metric, peer, (time.perf_counter() - begin) * 1000)

    def as_json(self) -> dict[str, Any]:
        """Every sample and its summary, by metric and peer."""
        found: dict[str, Any] = {}
        for name, metric in self.metrics.items():
            peers = {}
            for peer, values in metric.samples.items():
                summary = metric.summary(peer)
                assert summary is not None
                peers[peer] = {"median": summary.median, "min": summary.low, "max": summary.high, "samples": values}
            found[name] = {"unit": metric.unit, "peers": peers}
        return found
