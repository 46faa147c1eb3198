"""Which handler a pod gets that names none: rules of the configuration, by namespace, label and annotation.

What only the host's own kernel can give (its namespaces, privileges) comes before all rules: such a pod gets a handler
whose containers are processes of the host. Without rules there is no policy, and every such pod gets the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.settings import HandlerRule


class Handlers(Protocol):
    """The handlers of a backend, as far as a choice needs to know them."""

    @property
    def default(self) -> str:
        """The name of the one that the empty name means."""
        ...

    def names(self) -> tuple[str, ...]:
        """All, the default first."""
        ...

    def isolates(self, handler: str) -> bool:
        """Whether its pods have nothing of the host's."""
        ...


@dataclass(frozen=True)
class Choice:
    """A handler, '' for the default, and why; for people."""

    handler: str
    because: str


def check_rules(rules: Mapping[str, HandlerRule], handlers: Handlers) -> None:
    """Raises InvalidArgument for a rule whose handler is not there, or that fits every pod."""
    for name, rule in rules.items():
        field = f"sandbox.handler_rules.{name}"
        if rule.handler not in handlers.names():
            raise InvalidArgument(
                f"{rule.handler!r} is not a handler of this node; there are: {', '.join(handlers.names())}",
                field=f"{field}.handler",
            )
        if not (rule.namespaces or rule.labels or rule.annotations):
            raise InvalidArgument("it would fit every pod: for that, set runtime.default", field=field)


def choose_handler(
    rules: Mapping[str, HandlerRule], handlers: Handlers, config: pb.PodSandboxConfig, asked: str
) -> Choice:
    """Raises FailedPrecondition when a pod needs the host's kernel and no handler has it."""
    if asked:
        return Choice(asked, "the pod names it")
    if not rules:
        return Choice("", "the pod names none, and there are no rules")
    if need := needs_host(config):
        return _of_host(handlers, need)
    for name, rule in rules.items():
        if _fits(rule, config):
            return Choice(rule.handler, f"rule {name!r} fits it")
    return Choice("", "no rule fits it")


def needs_host(config: pb.PodSandboxConfig) -> str:
    """What of the host's the pod needs, in words; '' for nothing."""
    security = config.linux.security_context
    options = security.namespace_options
    needs = {
        "the host's network": options.network == pb.NODE,
        "the host's PIDs": options.pid == pb.NODE,
        "the host's IPC": options.ipc == pb.NODE,
        "privileges on the host": security.privileged,
    }
    return next((need for need, wanted in needs.items() if wanted), "")


def _of_host(handlers: Handlers, need: str) -> Choice:
    for name in handlers.names():
        if not handlers.isolates(name):
            return Choice("" if name == handlers.default else name, f"it needs {need}")
    raise FailedPrecondition(f"the pod needs {need}, and every handler of this node keeps pods apart from the host")


def _fits(rule: HandlerRule, config: pb.PodSandboxConfig) -> bool:
    return (
        (not rule.namespaces or config.metadata.namespace in rule.namespaces)
        and _has(config.labels, rule.labels)
        and _has(config.annotations, rule.annotations)
    )


def _has(there: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(key in there and value in ("", there[key]) for key, value in wanted.items())
