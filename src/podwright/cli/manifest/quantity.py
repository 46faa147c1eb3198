"""Kubernetes quantities: `500m`, `1.5Gi`, `12e6`. Exact, rounded up as the API server does."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_SUFFIXES = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "E": Fraction(10**18),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
    "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII)


def parse(text: str) -> Fraction:
    """A quantity as an exact number. Raises ValueError with the reason."""
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or len(text) > 64:
        raise ValueError(f"{text!r} is not a quantity such as 100m, 0.5, 64Mi or 1G")
    sign, digits, exponent, suffix = found.groups()
    if sign == "-":
        raise ValueError(f"{text!r} must not be negative")
    scale = Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""]
    return Fraction(digits + "0" if digits.endswith(".") else digits) * scale


def milli(amount: Fraction) -> int:
    """In thousandths, rounded up: the unit that CPU time is accounted in."""
    return math.ceil(amount * 1000)


def whole(amount: Fraction) -> int:
    """In ones, rounded up: bytes."""
    return math.ceil(amount)
