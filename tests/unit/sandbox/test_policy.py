"""Which handler a pod gets that names none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.criapi import api_pb2 as pb
from podwright.runtime.handlers import Handlers, HandlerSettings, Settings
from podwright.sandbox.policy import check_rules, choose_handler
from podwright.sandbox.settings import HandlerRule

RULES = {
    "tenants": HandlerRule(handler="sandboxed", namespaces=("red", "blue")),
    "untrusted": HandlerRule(handler="sandboxed", labels={"trust": "none", "team": ""}),
    "asked": HandlerRule(handler="other", annotations={"example.org/sandbox": "true"}),
}


@pytest.fixture
def handlers(tmp_path: Path) -> Handlers:
    configured = {
        "plain": HandlerSettings(path="/bin/true"),
        "other": HandlerSettings(path="/bin/true"),
        "sandboxed": HandlerSettings(path="/bin/true", type="gvisor"),
    }
    return Handlers(Settings(default="plain", handlers=configured), tmp_path)


def pod(
    namespace: str = "default", *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
) -> pb.PodSandboxConfig:
    metadata = pb.PodSandboxMetadata(name="pod", namespace=namespace)
    return pb.PodSandboxConfig(metadata=metadata, labels=labels or {}, annotations=annotations or {})


@pytest.mark.parametrize(
    ("config", "handler", "because"),
    [
        (pod(), "", "no rule fits"),
        (pod("red"), "sandboxed", "'tenants'"),
        (pod(labels={"trust": "none"}), "", "no rule"),
        (pod(labels={"trust": "none", "team": "x"}), "sandboxed", "'untrusted'"),
        (pod(labels={"trust": "some", "team": "x"}), "", "no rule"),
        (pod(annotations={"example.org/sandbox": "true"}), "other", "'asked'"),
        (pod("blue", annotations={"example.org/sandbox": "true"}), "sandboxed", "'tenants'"),
    ],
)
def test_the_first_rule_that_fits(handlers: Handlers, config: pb.PodSandboxConfig, handler: str, because: str) -> None:
    choice = choose_handler(RULES, handlers, config, "")
    assert choice.handler == handler
    assert because in choice.because


def test_a_pod_that_names_one_gets_it(handlers: Handlers) -> None:
    assert choose_handler(RULES, handlers, pod("red"), "other").handler == "other"


def test_without_rules_there_is_no_policy(handlers: Handlers) -> None:
    assert choose_handler({}, handlers, pod("red"), "").handler == ""


@pytest.mark.parametrize("kind", ["network", "pid", "ipc", "privileged"])
def test_what_only_the_host_has(handlers: Handlers, tmp_path: Path, kind: str) -> None:
    config = pod("red")
    if kind == "privileged":
        config.linux.security_context.privileged = True
    else:
        setattr(config.linux.security_context.namespace_options, kind, pb.NODE)
    choice = choose_handler(RULES, handlers, config, "")
    assert (choice.handler, choice.because.startswith("it needs")) == ("", True)
    one = {"sandboxed": HandlerSettings(path="/bin/true", type="gvisor"), "plain": HandlerSettings(path="/bin/true")}
    strict = Handlers(Settings(default="sandboxed", handlers=one), tmp_path)
    assert not strict.isolates(choose_handler(RULES, strict, config, "").handler)


def test_no_handler_of_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("podwright.linux.process.DEFAULT_PATH", "/nonexistent")
    only = {"sandboxed": HandlerSettings(path="/bin/true", type="gvisor")}
    config = pod()
    config.linux.security_context.privileged = True
    with pytest.raises(FailedPrecondition, match="needs privileges on the host"):
        choose_handler(RULES, Handlers(Settings(default="sandboxed", handlers=only), tmp_path), config, "")


def test_rules_that_make_no_sense(handlers: Handlers) -> None:
    check_rules(RULES, handlers)
    with pytest.raises(InvalidArgument, match=r"sandbox\.handler_rules\.a\.handler.*'kata'.*plain"):
        check_rules({"a": HandlerRule(handler="kata", namespaces=("x",))}, handlers)
    with pytest.raises(InvalidArgument, match=r"sandbox\.handler_rules\.a.*every pod"):
        check_rules({"a": HandlerRule(handler="plain")}, handlers)
