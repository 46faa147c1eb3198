"""The sandbox container of a pod, as POST /containers/create takes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.criapi import api_pb2 as pb
from podwright.docker.naming import labels_of
from podwright.sandbox.model import Sandbox

_OOM_SCORE_ADJ = -998
_CPU_SHARES = 2


def sandbox_body(
    sandbox: Sandbox, *, image: str, runtime: str, instance: str, sysctls: Mapping[str, str], oom_score_adj_min: int,
    shm_size_bytes: int,
) -> dict[str, object]:  # fmt: skip
    """It does nothing and may do nothing: no network of Docker's, no capability, no output that is kept."""
    config, record = sandbox.config, sandbox.record
    host_network = sandbox.host_network
    labels = labels_of(config.labels, instance=instance, record_id=sandbox.id, kind="sandbox")
    body: dict[str, object] = {
        "Image": image,
        "Labels": labels,
        "HostConfig": {
            "Runtime": runtime,
            "NetworkMode": "host" if host_network else "none",
            "UTSMode": "host" if host_network else "",
            "IpcMode": "host" if sandbox.host_ipc else "shareable",
            "PidMode": "host" if sandbox.namespace_options.pid == pb.NODE else "",
            "UsernsMode": "host",
            "CgroupParent": record.cgroup_parent,
            "CpuShares": _CPU_SHARES,
            "OomScoreAdj": max(_OOM_SCORE_ADJ, oom_score_adj_min),
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Sysctls": dict(sysctls),
            "ShmSize": shm_size_bytes,
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
            "Init": False,
        },
    }
    if not host_network:
        body["Hostname"] = record.hostname
    return body
