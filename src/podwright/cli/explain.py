"""`podwright explain`: which handler the pods of a manifest would get, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from podwright.base.errors import InvalidArgument
from podwright.cli import output
from podwright.cli.manifest.cri_pod import sandbox_config
from podwright.cli.manifest.documents import read_manifest
from podwright.cli.manifest.facts import Host, Instance
from podwright.cli.options import Format, Output
from podwright.cli.play import read
from podwright.config import files
from podwright.runtime.handlers import Handlers
from podwright.sandbox.policy import check_rules, choose_handler

_NOWHERE = Path("/nonexistent")


def explain(
    manifest: Annotated[str, typer.Argument(metavar="POD.yaml", help="Pods; - for stdin.")],
    *,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The daemon's configuration.")] = None,
    output_format: Output = Format.TABLE,
) -> None:
    """Say which runtime handler each pod of a manifest would get, and why. Needs no daemon."""
    settings = files.load(config, {})
    handlers = Handlers(settings.runtime, settings.state.run / "runtime")
    rules = settings.sandbox.handler_rules
    check_rules(rules, handlers)
    try:
        pods = read_manifest(read(manifest)).pods
    except InvalidArgument as error:
        raise InvalidArgument(f"{manifest}: {error}") from error
    found = []
    for pod in pods:
        instance = Instance(uid="", log_directory=_NOWHERE, volumes={}, hosts=_NOWHERE, termination_logs={})
        choice = choose_handler(rules, handlers, sandbox_config(pod, Host(), instance, ""), pod.runtime_class)
        handlers.settings(choice.handler)  # a handler that is not there is refused, as RunPodSandbox does
        found.append({
            "pod": pod.full_name, "handler": choice.handler or handlers.default, "because": choice.because
        })  # fmt: skip
    if output_format is Format.JSON:
        output.print_json(found)
    else:
        output.print_table(["POD", "HANDLER", "BECAUSE"], [tuple(row.values()) for row in found])
