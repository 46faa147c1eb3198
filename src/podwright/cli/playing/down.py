"""Take a played pod down: containers, sandbox, volumes. Safe to repeat, and for pods that are half there."""

from __future__ import annotations

from podwright.cli.client import SLOW_S, Client
from podwright.cli.manifest.model import Pod
from podwright.cli.playing import find
from podwright.cli.playing.directory import PodDirectory
from podwright.cli.stop import stop_pod
from podwright.criapi import api_pb2 as pb


def take_down(client: Client, pod: Pod, directory: PodDirectory) -> bool:
    """Stop and remove the pod and its directory; False when there was nothing."""
    found = find.sandboxes(client, pod)
    for sandbox in found:
        stop_pod(client, sandbox.id, find.containers(client, sandbox.id), pod.grace_s)
        client.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id), timeout=SLOW_S)
    return directory.remove() or bool(found)
