"""Shows a run: a table with medians, ranges and ratios, and one JSON file with every sample."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from bench.samples import Metric, Samples


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "model": model[0].partition(":")[2].strip() if model else platform.machine(),
        "load": os.getloadavg()[0],
    }


def save(path: Path, samples: Samples, about: dict[str, Any]) -> None:
    """Write the whole run as JSON."""
    path.write_text(json.dumps({**about, "metrics": samples.as_json()}, indent=1) + "\n")


def table(samples: Samples, baseline: str | None) -> str:
    """A Markdown table: a row a metric, `median (min-max)` for each peer, and ratios of medians to the baseline."""
    peers = list(dict.fromkeys(peer for metric in samples.metrics.values() for peer in metric.samples))
    compared = [peer for peer in peers if baseline in peers and peer != baseline]
    rows = [["metric", *peers, *(f"{peer} / {baseline}" for peer in compared)]]
    for name, metric in samples.metrics.items():
        ratios = [_ratio(metric, peer, str(baseline)) for peer in compared]
        rows.append([f"{name} ({metric.unit})", *(_cell(metric, peer) for peer in peers), *ratios])
    return _markdown(rows)


def _cell(metric: Metric, peer: str) -> str:
    summary = metric.summary(peer)
    if summary is None:
        return ""
    if summary.count == 1:
        return _number(summary.median)
    return f"{_number(summary.median)} ({_number(summary.low)}-{_number(summary.high)})"


def _ratio(metric: Metric, peer: str, baseline: str) -> str:
    ours, theirs = metric.summary(peer), metric.summary(baseline)
    return f"{ours.median / theirs.median:.2f}" if ours and theirs and theirs.median else ""


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _line(row: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
