"""Pods that name no handler, with rules in the configuration; what `podwright explain` says is what they get."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.command_line import CommandLine
from tests.support.daemon import Daemon, pod_config, serving

pytestmark = pytest.mark.root

RULES = """
[sandbox.handler_rules.careful]
handler = "runc"
labels = { trust = "none" }
"""


def test_a_rule_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Daemon(tmp_path, runtime="crun", config=RULES)) as daemon:
        handlers = {}
        for name, labels in (("plain", {}), ("careful", {"trust": "none"})):
            config = pod_config(name, tmp_path / "logs", labels=labels)
            handlers[name] = daemon.pod_status(
                daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id
            ).runtime_handler
        assert handlers == {"plain": "", "careful": "runc"}
        manifest = tmp_path / "pod.yaml"
        manifest.write_text(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: careful, labels: {trust: none}}\n"
            "spec: {containers: [{name: c, image: x}]}\n"
        )
        command_line = CommandLine(daemon.socket, capsys, monkeypatch)
        done = command_line("explain", manifest, "--config", daemon.config, "-o", "json")
        assert done.json == [{"pod": "default/careful", "handler": "runc", "because": "rule 'careful' fits it"}]
