"""Status and RuntimeConfig through the socket: what the kubelet decides about a node by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from podwright.network.host_ports import table_name
from tests.support.daemon import Daemon, serving

pytestmark = pytest.mark.root

# ADD and DEL are the bridge plugin's; STATUS fails while there is a file, and GC writes down what it was told.
PLUGIN = """#!/bin/sh
here={here}
case $CNI_COMMAND in
STATUS) if [ -e $here/ill ]; then echo '{{"code": 50, "msg": "its agent is down"}}'; exit 1; fi;;
GC) cat >$here/gc;;
*) sed 's/"agent"/"bridge"/; s/1[.]1[.]0/1.0.0/g' | {bridge};;
esac
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Its network's plugin speaks CNI 1.1."""
    plugins, bridge = tmp_path / "plugins", shutil.which("bridge", path="/opt/cni/bin:/usr/lib/cni")
    plugins.mkdir()
    assert bridge is not None
    directories = ", ".join(f'"{directory}"' for directory in (plugins, Path(bridge).parent))
    (plugins / "agent").write_text(PLUGIN.format(here=tmp_path, bridge=bridge))
    (plugins / "agent").chmod(0o755)
    config = f"[network]\nplugin_dirs = [{directories}]\nstatus_interval_s = 0.01\n"
    server = Daemon(tmp_path, runtime="crun", config=config)
    conflist = server.cni_dir / "10-test.conflist"
    document = json.loads(conflist.read_text())
    document["plugins"] = [{**document["plugins"][0], "type": "agent"}]
    conflist.write_text(json.dumps({**document, "cniVersion": "1.1.0"}))
    with serving(server):
        yield server


def network_ready(daemon: Daemon) -> pb.RuntimeCondition:
    conditions = {c.type: c for c in daemon.runtime.Status(pb.StatusRequest()).status.conditions}
    assert conditions["RuntimeReady"].status
    ready = conditions["NetworkReady"]
    assert isinstance(ready, pb.RuntimeCondition)
    return ready


def test_the_network_is_as_ready_as_its_plugins_say(daemon: Daemon, tmp_path: Path) -> None:
    daemon.wait_until(lambda: network_ready(daemon).status)
    (tmp_path / "ill").touch()
    daemon.wait_until(lambda: not network_ready(daemon).status)
    condition = network_ready(daemon)
    assert condition.reason == "NetworkPluginNotReady"
    for words in ("'agent'", "10-test.conflist", "STATUS failed: its agent is down"):
        assert words in condition.message
    daemon.run_pod("on-the-host", host_network=True)
    (tmp_path / "ill").unlink()
    daemon.wait_until(lambda: network_ready(daemon).status)


def test_plugins_are_told_at_start_which_pods_there_are(daemon: Daemon, tmp_path: Path) -> None:
    kept, stopped = daemon.run_pod("kept"), daemon.run_pod("stopped")
    daemon.stop_pod(stopped)
    (tmp_path / "gc").unlink()
    daemon.restart()
    told = json.loads((tmp_path / "gc").read_text())
    assert told["cni.dev/valid-attachments"] == [{"containerID": kept, "ifname": "eth0"}]


def test_handlers_and_what_else_the_kubelet_asks_once(daemon: Daemon) -> None:
    status = daemon.runtime.Status(pb.StatusRequest(verbose=True))
    handlers = {handler.name: handler.features for handler in status.runtime_handlers}
    assert len(handlers) == len(status.runtime_handlers)
    assert {"", "crun", "runc"} <= set(handlers)
    assert handlers[""] == handlers["crun"], "the default handler is listed by its name, too"
    assert status.features.supplemental_groups_policy
    for document in status.info.values():
        assert isinstance(json.loads(document), dict)
    network = json.loads(status.info["network"])
    assert (network["file"], network["plugins"]) == (str(daemon.cni_dir / "10-test.conflist"), ["agent"])
    assert network["hostPorts"] == f"nftables table inet {table_name(daemon.run)}"
    assert not daemon.runtime.Status(pb.StatusRequest()).info
    config = daemon.runtime.RuntimeConfig(pb.RuntimeConfigRequest())
    assert config.linux.cgroup_driver == pb.CGROUPFS
    version = daemon.runtime.Version(pb.VersionRequest())
    assert (version.version, version.runtime_name, version.runtime_api_version) == ("0.1.0", "podwright", "v1")


def test_a_default_runtime_that_is_missing(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, runtime="gone", config='[runtime.handlers.gone]\npath = "no-such-program"\n')
    daemon.start()
    try:
        status = daemon.runtime.Status(pb.StatusRequest())
        conditions = {c.type: c for c in status.status.conditions}
        assert not conditions["RuntimeReady"].status
        assert "no-such-program" in conditions["RuntimeReady"].message
        assert "" in {handler.name for handler in status.runtime_handlers}
    finally:
        daemon.remove_everything()
