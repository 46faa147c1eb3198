"""The bench's table: medians, ranges, ratios of medians, and gaps where a peer was not measured."""

from __future__ import annotations

import pytest
from bench.report import table
from bench.samples import Samples


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratio_is_of_medians() -> None:
    samples = Samples()
    for value in (30.0, 40.0, 500.0):
        samples.add("pod.ready", "ours", value)
    for value in (90.0, 100.0, 110.0):
        samples.add("pod.ready", "theirs", value)
    head, _, row = table(samples, "theirs").splitlines()
    assert _cells(head) == ["metric", "ours", "theirs", "ours / theirs"]
    assert _cells(row) == ["pod.ready (ms)", "40.0 (30.0-500)", "100 (90.0-110)", "0.40"]


def test_unmeasured_is_blank() -> None:
    samples = Samples()
    samples.add("exec.ExecSync", "ours", 5.0)
    samples.add("pull.big", "theirs", 5000.0)
    rows = [_cells(line) for line in table(samples, "theirs").splitlines()[2:]]
    assert rows == [["exec.ExecSync (ms)", "5.00", "", ""], ["pull.big (ms)", "", "5000", ""]]


def test_no_baseline_no_ratios() -> None:
    samples = Samples()
    samples.add("exec.ExecSync", "ours", 5.0)
    assert _cells(table(samples, None).splitlines()[0]) == ["metric", "ours"]


def test_failed_block_leaves_no_sample() -> None:
    samples = Samples()
    with pytest.raises(ValueError, match="broken"), samples.timed("pod.ready", "ours"):
        raise ValueError("broken")
    assert samples.metrics == {}
