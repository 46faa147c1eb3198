"""Pods that name no handler, with rules in the configuration; what `podwright explain` says is what they get."""

from __future__ import annotations

import json
import os
import signal
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


def test_a_handler_that_is_configured_no_more(tmp_path: Path) -> None:
    """The end of its containers is seen all the same."""
    handler = '[runtime.handlers.gone]\npath = "runc"\n'
    with serving(Daemon(tmp_path, runtime="crun", config=handler)) as daemon:
        container = daemon.run_container(daemon.run_pod(handler="gone"), "sleep", "1000")
        configured = daemon.config.read_text()
        daemon.config.write_text(configured.replace(handler, ""))
        daemon.restart()
        info = daemon.runtime.ContainerStatus(pb.ContainerStatusRequest(container_id=container, verbose=True)).info
        os.kill(json.loads(info["info"])["pid"], signal.SIGKILL)
        assert daemon.wait_exit(container).exit_code == 137
        daemon.config.write_text(configured)
        daemon.restart()
