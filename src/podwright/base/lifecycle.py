"""What happens to pods and containers, for those who want to know.

The records' owners publish here, at the one place where facts are stored; who listens is none of their business.
A listener is called at once, in the event loop's thread: it takes what it needs of the subject and returns.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

from podwright.base.log import get_logger

log = get_logger(__name__)
S = TypeVar("S")


class Step(Enum):
    """The steps of a life, in order."""

    CREATED = "created"
    STARTED = "started"
    STOPPED = "stopped"
    DELETED = "deleted"


class Changes(Generic[S]):
    """The steps of all things of one kind. Without a listener `publish` is a test of an empty list."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Step, S], None]] = []

    def subscribe(self, listener: Callable[[Step, S], None]) -> Callable[[], None]:
        """Call `listener` at each step from now on; gives the function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, step: Step, subject: S) -> None:
        """Tell the listeners. What one raises is logged: the work that is reported must not fail for it."""
        for listener in tuple(self._listeners):
            try:
                listener(step, subject)
            except Exception as error:
                log.error("a listener failed", step=step.value, exc_info=error)
