"""CNI plugins that are small shell scripts: they write down how they were called and answer what the test says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podwright.network.base import PodNetwork, Settings
from podwright.network.cni import CniNetwork

SCRIPT = """#!/bin/sh
here=%s
name=${0##*/}
cat > "$here/$name.$CNI_COMMAND.stdin"
echo "$CNI_COMMAND $name" >> "$here/calls"
env | grep ^CNI_ | sort > "$here/$name.$CNI_COMMAND.env"
if [ -e "$here/$name.$CNI_COMMAND.sh" ]; then . "$here/$name.$CNI_COMMAND.sh"; fi
if [ "$CNI_COMMAND" = ADD ]; then cat "$here/$name.result"; fi
"""

# A pinned namespace as far as `is_pinned` can tell, without needing to be root.
SOME_NETNS = Path("/proc/self/ns/net")


@dataclass
class FakePlugins:
    """Plugins in `bin`, configuration in `conf`, what happened in `log`."""

    bin: Path
    conf: Path
    log: Path

    def install(self, name: str, result: dict[str, Any] | None = None) -> None:
        program = self.bin / name
        program.write_text(SCRIPT % self.log)
        program.chmod(0o755)
        (self.log / f"{name}.result").write_text(json.dumps(result) if result is not None else "")

    def script(self, name: str, verb: str, text: str) -> None:
        (self.log / f"{name}.{verb}.sh").write_text(text)

    def fail(self, name: str, verb: str, **error: Any) -> None:
        self.script(name, verb, f"echo '{json.dumps(error)}'; exit 1\n")

    def configure(self, *plugins: dict[str, Any], version: str = "1.0.0", file: str = "10-net.conflist") -> Path:
        path = self.conf / file
        path.write_text(json.dumps({"cniVersion": version, "name": "net", "plugins": plugins}))
        return path

    @property
    def calls(self) -> list[str]:
        path = self.log / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def stdin(self, name: str, verb: str) -> dict[str, Any]:
        request: dict[str, Any] = json.loads((self.log / f"{name}.{verb}.stdin").read_text())
        return request

    def env(self, name: str, verb: str) -> dict[str, str]:
        lines = (self.log / f"{name}.{verb}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def settings(self, **changes: Any) -> Settings:
        wanted: dict[str, Any] = {"conf_dir": self.conf, "plugin_dirs": (str(self.bin),), "default_network": "none"}
        return Settings(**{**wanted, **changes})

    def network(self, **changes: Any) -> CniNetwork:
        return CniNetwork(self.settings(**changes), self.log)


def pod(**changes: Any) -> PodNetwork:
    wanted: dict[str, Any] = {
        "sandbox_id": "a" * 64, "name": "web", "namespace": "shop", "uid": "uid-1", "netns": SOME_NETNS,
    }  # fmt: skip
    return PodNetwork(**{**wanted, **changes})


def result(address: str = "10.1.2.3/24", version: str = "1.0.0") -> dict[str, Any]:
    return {
        "cniVersion": version,
        "interfaces": [{"name": "veth1"}, {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/ns"}],
        "ips": [{"address": address, "gateway": "10.1.2.1", "interface": 1}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    }
