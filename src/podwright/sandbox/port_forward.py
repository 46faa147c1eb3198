"""Connections to ports of a pod, made from inside its network namespace."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.sandbox.model import Sandbox


def require_forwardable(sandbox: Sandbox) -> None:
    """Raises FailedPrecondition unless the pod is ready."""
    if not sandbox.ready:
        raise FailedPrecondition(f"pod sandbox {sandbox.id[:13]} is not ready: its ports can't be forwarded")
