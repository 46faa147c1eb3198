"""IP addresses as text."""

from __future__ import annotations

import ipaddress


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, without prefix or port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
