"""What `exec` and `attach` share: our terminal and standard streams connected to a streaming URL."""

from __future__ import annotations

import asyncio
import os
import sys

from podwright.base.errors import FailedPrecondition
from podwright.base.streams import ProcessStreams
from podwright.cli.terminal import LocalInput, LocalOutput, raw, window_sizes
from podwright.streaming.base import Wanted
from podwright.streaming.client import remote_command

_STDIN = 0


def wanted_streams(*, interactive: bool, terminal: bool) -> Wanted:
    """What a command asks the runtime for. With a terminal there is one output."""
    return Wanted(stdin=interactive, stdout=True, stderr=not terminal, terminal=terminal)


def connect_streams(url: str, wanted: Wanted) -> int:
    """Run until the other side ends; gives its exit code. Raises FailedPrecondition with its error, Unavailable."""
    streams = ProcessStreams(
        stdin=LocalInput(_STDIN) if wanted.stdin else None,
        stdout=LocalOutput(sys.stdout.buffer),
        stderr=LocalOutput(sys.stderr.buffer) if wanted.stderr else None,
        sizes=window_sizes(_STDIN) if wanted.terminal and os.isatty(_STDIN) else None,
    )
    if wanted.terminal and wanted.stdin:
        with raw(_STDIN):
            outcome = asyncio.run(remote_command(url, wanted, streams))
    else:
        outcome = asyncio.run(remote_command(url, wanted, streams))
    if outcome.error:
        raise FailedPrecondition(outcome.error)
    return outcome.exit_code
