"""The log: structured lines on stderr, with the pod and container of the current task bound by context.

Every room calls `get_logger(__name__)`. `configure` is called once by the daemon. Nothing here is called
at import time, so a library user of a room keeps whatever logging they have.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let nobody find a module for the moment."""
    modules: dict[str, Any] = sys.modules
    found = modules.get(module)
    modules[module] = None
    try:
        yield
    finally:
        del modules[module]
        if found is not None:
            modules[module] = found


# structlog takes rich where it finds it, for tracebacks in colour: a fifth of a daemon's start, and 5 MiB.
with _hidden("rich"):
    import structlog
    from structlog.contextvars import bound_contextvars, merge_contextvars
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

LEVELS = ("trace", "debug", "info", "warning", "error")

log_context = bound_contextvars


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger that adds `room=name` and whatever the context has bound."""
    logger: FilteringBoundLogger = structlog.get_logger(room=name.removeprefix("podwright."))
    return logger


def configure(level: str, *, as_json: bool = False, stream: TextIO = sys.stderr) -> None:
    """Send log lines of at least `level` (one of `LEVELS`) to `stream`, as text or one JSON object a line."""
    number = logging.DEBUG if level == "trace" else logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0, pad_level=False)
    )
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _drop_empty,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def _drop_empty(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: value for key, value in event.items() if value is not None and value != ""}
