"""Debian's docker-registry on a loopback port, filled from OCI layouts, and the hosts.toml that leads to it."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from pathlib import Path

from bench import programs
from bench.images import Recipe, layout
from bench.workspace import Workspace

_CONFIG = """\
version: 0.1
log:
  level: warn
  accesslog:
    disabled: {quiet}
storage:
  filesystem:
    rootdirectory: {directory}
http:
  addr: 127.0.0.1:{port}
"""
_HOSTS = """\
server = "http://{host}"
[host."http://{host}"]
capabilities = ["pull", "resolve"]
"""


class Registry:
    """A running registry. `reference` names an image in it; `push` puts one there."""

    def __init__(self, workspace: Workspace, *, access_log: bool = False) -> None:
        self._workspace = workspace
        self.host = f"127.0.0.1:{_free_port()}"
        config = workspace.scratch / "registry.yml"
        port = self.host.rpartition(":")[2]
        quiet = "false" if access_log else "true"
        config.write_text(_CONFIG.format(directory=workspace.registry, port=port, quiet=quiet))
        argv: list[str | Path] = [programs.find("docker-registry"), "serve", config]
        self._service = programs.Service("docker-registry", argv, workspace.logs / "registry.log")
        self._wait()
        hosts = workspace.certs / self.host / "hosts.toml"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        hosts.write_text(_HOSTS.format(host=self.host))

    def reference(self, recipe: Recipe) -> str:
        """The image's name for a pull."""
        return f"{self.host}/{recipe.name}:1"

    def push(self, recipe: Recipe) -> None:
        """Make the image if need be and store it. Blobs that the registry holds are not sent again."""
        source = f"oci:{layout(self._workspace, recipe)}"
        programs.run(
            programs.find("skopeo"), "--insecure-policy", "copy", "--quiet", "--preserve-digests",
            "--dest-tls-verify=false", source, f"docker://{self.reference(recipe)}",
        )  # fmt: skip

    def blobs(self, recipe: Recipe) -> list[str]:
        """The URLs of an image's layers."""
        request = urllib.request.Request(
            f"http://{self.host}/v2/{recipe.name}/manifests/1",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            manifest = json.load(answer)
        return [f"http://{self.host}/v2/{recipe.name}/blobs/{layer['digest']}" for layer in manifest["layers"]]

    def stop(self) -> None:
        """Stop the registry; what it stores stays for the next run."""
        self._service.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            self._service.check()
            try:
                with socket.create_connection(("127.0.0.1", int(self.host.rpartition(":")[2])), timeout=1):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise programs.ProgramError(f"docker-registry doesn't listen:\n{self._service.tail()}") from None
                time.sleep(0.02)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
