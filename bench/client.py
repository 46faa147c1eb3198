"""A blocking client of one CRI socket, as plain as the kubelet's: one channel, no retries."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

import grpc

from podwright.criapi import api_pb2, api_pb2_grpc

_LIMIT_BYTES = 64 * 1024 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", _LIMIT_BYTES),
    ("grpc.max_send_message_length", _LIMIT_BYTES),
    ("grpc.default_authority", "localhost"),
    # Each client of the bench has its own connection, as different processes would.
    ("grpc.use_local_subchannel_pool", 1),
]


class Client:
    """Both services of a CRI socket. `runtime` and `images` are the generated stubs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._channel = grpc.insecure_channel(f"unix:{path}", options=_OPTIONS)
        self.runtime = api_pb2_grpc.RuntimeServiceStub(self._channel)
        self.images = api_pb2_grpc.ImageServiceStub(self._channel)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once the runtime answers and says that it is ready for pods with a network."""
        deadline = time.monotonic() + timeout_s
        # A channel that met no listener waits a second before it tries again; so see first that there is one.
        while not self._listens() and time.monotonic() < deadline:
            time.sleep(0.005)
        while True:
            try:
                conditions = self.runtime.Status(api_pb2.StatusRequest(), timeout=5).status.conditions
                if conditions and all(condition.status for condition in conditions):
                    return
                problem = "; ".join(f"{c.type}: {c.message}" for c in conditions if not c.status)
            except grpc.RpcError as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.path} is not ready after {timeout_s} s: {problem}")
            time.sleep(0.01)

    def version(self) -> str:
        """Name and version of the runtime."""
        answer = self.runtime.Version(api_pb2.VersionRequest())
        return f"{answer.runtime_name} {answer.runtime_version}"

    def pull(self, reference: str) -> str:
        """Pull an image and return its reference for CreateContainer."""
        return self.images.PullImage(
            api_pb2.PullImageRequest(image=api_pb2.ImageSpec(image=reference)), timeout=600
        ).image_ref

    def remove_image(self, reference: str) -> None:
        """Remove an image and what only it needed."""
        self.images.RemoveImage(api_pb2.RemoveImageRequest(image=api_pb2.ImageSpec(image=reference)), timeout=600)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def daemon_pid(self) -> int:
        """The process that listens on the socket (SO_PEERCRED, unix(7))."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.path))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        return pid
