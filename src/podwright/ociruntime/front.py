"""The command line of an OCI runtime: from argv to a verb, and from errors to what callers of runc expect.

https://github.com/opencontainers/runtime-tools, docs/command-line-interface.md, and runc(8).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from podwright.base.errors import InvalidArgument, PodwrightError, Unimplemented
from podwright.oci.runtime_spec import OCI_VERSION
from podwright.ociruntime.arguments import GLOBAL, SYNTAX, Arguments, parse
from podwright.ociruntime.base import Call, Identity
from podwright.ociruntime.report import Report

_VERBS = {
    "create": "create:run", "start": "start:run", "run": "run:run", "kill": "kill:run", "delete": "delete:run",
    "exec": "exec:run", "pause": "pause:run", "resume": "pause:resume", "update": "update:run",
    "state": "tell:show_state", "list": "tell:show_list", "ps": "tell:show_processes", "events": "tell:show_events",
    "features": "tell:show_features",
}  # fmt: skip
_REFUSED = ("checkpoint", "restore", "spec")


def main(identity: Identity, argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 for an error, told on stderr and in the log; `run` and `exec` have their process's."""
    words = sys.argv[1:] if argv is None else argv
    report = Report(identity.name)
    try:
        options = parse(words, GLOBAL)
        report = _report(identity, options)
        if options.on("version"):
            sys.stdout.write(f"{identity.name} version {identity.version}\nspec: {OCI_VERSION}\n")
            return 0
        if options.on("help") or not options.words:
            sys.stdout.write(_usage(identity))
            return 0 if options.on("help") else 1
        return _run(identity, report, options)
    except PodwrightError as error:
        report.error(str(error))
    except BrokenPipeError:  # whoever read our output has left; Python would complain again when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        report.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        report.error(f"a defect of {identity.name}: {error!r}")
        raise
    return 1


def _report(identity: Identity, options: Arguments) -> Report:
    form = options.value("log-format", "text")
    if form not in ("text", "json"):
        raise InvalidArgument(f"{form!r} is neither text nor json", field="--log-format")
    return Report(identity.name, options.value("log"), as_json=form == "json", debug=options.on("debug"))


def _run(identity: Identity, report: Report, options: Arguments) -> int:
    verb, *words = options.words
    if verb in _REFUSED:
        raise Unimplemented(f"{identity.name} has no {verb}")
    if verb not in _VERBS and verb not in identity.verbs:
        raise InvalidArgument(f"unknown command {verb!r}; there are: {', '.join((*_VERBS, *identity.verbs))}")
    config = options.value("config")
    if config and not identity.has_settings:
        raise InvalidArgument(f"{identity.name} has no settings", field="--config")
    call = Call(
        Path(options.value("root") or identity.root).absolute(), report,
        systemd_cgroup=options.on("systemd-cgroup"), debug=options.on("debug"),
        config=Path(config).absolute() if config else None,
    )  # fmt: skip
    if verb in identity.verbs:
        return identity.verbs[verb](call, words)
    arguments = parse(words, SYNTAX[verb], verb=verb)
    module, _, function = _VERBS[verb].partition(":")
    # Only what this verb needs: a runtime is started several times in the life of each container.
    run = getattr(importlib.import_module(f"podwright.ociruntime.{module}"), function)
    return int(run(call, identity.make(call), arguments))


def _usage(identity: Identity) -> str:
    config = " [--config FILE]" if identity.has_settings else ""
    lines = [f"Usage: {identity.name} [--root DIR]{config} [--log FILE] [--log-format text|json] [--debug] VERB …", ""]
    for verb in _VERBS:
        syntax = SYNTAX[verb]
        options = [
            *(f"[--{word.partition('|')[0]} …]" for word in syntax.values.split()),
            *(f"[--{word.partition('|')[0]}]" for word in syntax.switches.split()),
        ]
        lines.append(" ".join(["  " + verb, *options, syntax.words]).rstrip())
    return "\n".join([*lines, *(f"  {verb}" for verb in identity.verbs)]) + "\n"
