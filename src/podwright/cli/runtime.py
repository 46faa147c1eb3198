"""`podwright runtime check`: drive an OCI runtime through a whole life, and say what it does as it should."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from podwright.base import log
from podwright.base.errors import PodwrightError
from podwright.cli import output
from podwright.cli.conformance.bench import CALL_TIMEOUT_S, Bench, Failed, Unsupported, bench
from podwright.cli.conformance.checks import CHECKS, Check
from podwright.cli.options import Format, Output
from podwright.config import files
from podwright.runtime.handlers import Settings, well_known

application = typer.Typer(no_args_is_help=True, help="Try OCI runtimes, without a daemon.")

# A check makes more calls than that, but hardly one of them should take long.
_CALLS_IN_TIME = 3


@dataclass(frozen=True)
class Outcome:
    """One line of the report. `result`: ok, fail, or none for an optional verb that is not there."""

    check: str
    result: str
    message: str = ""


@application.callback()
def runtime() -> None:
    """Makes `check` a subcommand although it is the only one."""


@application.command()
def check(
    handler: Annotated[
        str, typer.Argument(help="A handler of the configuration, or crun, runc, runsc, nspawn, vm.")
    ] = "",
    *,
    path: Annotated[Path | None, typer.Option("--path", help="A runtime's program, instead of the handler's.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The configuration.")] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="When a call of the runtime is taken to hang.")
    ] = CALL_TIMEOUT_S,
    output_format: Output = Format.TABLE,
) -> None:
    """Check that a runtime does what Podwright and the OCI specification expect; the exit code is 1 if it does not.

    Containers, state and cgroups are its own, and gone afterwards.
    """
    log.configure("error")
    settings, name = _choose(files.load(config, {}).runtime, handler, path)
    outcomes = asyncio.run(_check_all(name, settings, timeout))
    if output_format is Format.JSON:
        output.print_json([dataclasses.asdict(outcome) for outcome in outcomes])
    else:
        rows = [(outcome.check, outcome.result, outcome.message) for outcome in outcomes]
        output.print_table(["CHECK", "RESULT", "MESSAGE"], rows, states=["RESULT"])
    if any(outcome.result == "fail" for outcome in outcomes):
        raise typer.Exit(1)


def _choose(settings: Settings, handler: str, path: Path | None) -> tuple[Settings, str]:
    """The handler to check, with a state directory of its own."""
    name = handler or (path.name if path else settings.default)
    configured = settings.handlers.get(name, well_known(name))
    if path is not None:
        configured = replace(configured, path=str(path.absolute()))
    if not name:
        return replace(settings, handlers={}), ""
    return replace(settings, default=name, handlers={name: replace(configured, root=None)}), name


async def _check_all(handler: str, settings: Settings, timeout_s: float) -> list[Outcome]:
    async with bench(handler, settings, timeout_s=timeout_s) as tried:
        return [await _check_one(tried, name, function, timeout_s) for name, function in CHECKS.items()]


async def _check_one(tried: Bench, name: str, function: Check, timeout_s: float) -> Outcome:
    """A check that hangs or breaks is one that failed, and leaves no container to the next."""
    try:
        async with asyncio.timeout(timeout_s * _CALLS_IN_TIME):
            outcome = Outcome(name, "ok", await function(tried))
    except Unsupported as error:
        outcome = Outcome(name, "none", str(error))
    except TimeoutError:
        outcome = Outcome(name, "fail", "it did not come about in time")
    except (Failed, PodwrightError, OSError, ValueError) as error:
        outcome = Outcome(name, "fail", str(error) or repr(error))
    if left := await tried.clear():
        return Outcome(name, "fail", f"containers that can't be deleted: {', '.join(left)}; {outcome.message}")
    return outcome
