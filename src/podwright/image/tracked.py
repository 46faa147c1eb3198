"""A pull that others can follow: on the progress board, in the log now and then, and its end in the log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger, log_context
from podwright.base.tasks import Tasks
from podwright.image.model import ImageRecord
from podwright.image.progress import ProgressBoard, PullTracker
from podwright.oci.reference import Reference

log = get_logger(__name__)


async def tracked(
    reference: Reference, work: Callable[[PullTracker], Awaitable[ImageRecord]], *,
    board: ProgressBoard, tasks: Tasks, log_interval_s: float,
) -> ImageRecord:  # fmt: skip
    """Do the work of a pull; what it raises is logged, told to watchers, and raised."""
    tracker = board.begin(str(reference))
    reporter = tasks.start(tracker.report(log_interval_s), name="report")
    try:
        with log_context(image=str(reference)):
            record = await work(tracker)
    except PodwrightError as error:
        log.warning("pull failed", image=str(reference), error=str(error))
        tracker.finish(str(error))
        raise
    except BaseException as error:
        tracker.finish(f"the pull was broken off ({type(error).__name__})")
        raise
    else:
        tracker.finish()
        seconds = round(time.monotonic() - tracker.started, 2)
        log.info("pulled", image=str(reference), id=record.id, bytes=tracker.state.bytes_total, seconds=seconds)
        return record
    finally:
        reporter.cancel()
        board.end(tracker)
