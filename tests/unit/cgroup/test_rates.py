"""CPU rates: what a counter says of the recent past, whoever reads it, however often."""

from __future__ import annotations

from podwright.cgroup.rates import CpuRates

S = 1_000_000_000


def test_the_first_reading_has_no_rate() -> None:
    rates = CpuRates()
    assert rates.rate("c", 10 * S, 5 * S) is None
    assert rates.rate("c", 20 * S, 10 * S) == S // 2


def test_keys_are_apart_and_can_be_forgotten() -> None:
    rates = CpuRates()
    rates.rate("c", 10 * S, 0)
    assert rates.rate("d", 11 * S, 0) is None
    rates.forget("c")
    assert rates.rate("c", 20 * S, S) is None
    rates.forget("never seen")


def test_a_reader_right_after_another_gets_the_same_rate() -> None:
    """A window of a millisecond would make noise of two pollers, and shorten the window of both."""
    rates = CpuRates()
    rates.rate("c", 10 * S, 0)
    assert rates.rate("c", 10 * S + 1000, 900) is None
    assert rates.rate("c", 20 * S, 10 * S) == S
    assert rates.rate("c", 20 * S + 1000, 10 * S) == S
    assert rates.rate("c", 30 * S, 10 * S) == 0


def test_a_counter_or_clock_that_went_back_starts_over() -> None:
    rates = CpuRates()
    rates.rate("c", 10 * S, 5 * S)
    assert rates.rate("c", 20 * S, S) is None
    assert rates.rate("c", 30 * S, 2 * S) == S // 10
    assert rates.rate("c", 5 * S, 3 * S) is None
    assert rates.rate("c", 7 * S, 3 * S) == 0
