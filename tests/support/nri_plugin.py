"""An NRI plugin: the real protocol over a real socket, from the plugin's side, in threads of the test.

`python -m tests.support.nri_plugin` is one that the daemon starts itself: it writes what it is told to a file.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from podwright.nri import nri_pb2 as pb
from podwright.wire import nri_mux, ttrpc
from podwright.wire.ttrpc_pb2 import Request

RUNTIME = "nri.pkg.api.v1alpha1.Runtime"
WAIT_S = 20.0
TELLINGS = (1 << pb.POST_UPDATE_POD_SANDBOX) - 1
"""The mask of all events but the validation."""
_METHODS = pb.DESCRIPTOR.services_by_name["Plugin"].methods_by_name

Handler = Callable[[Any], Message | None]


class Refusal(Exception):
    """A handler raises it to answer with an error."""


class Plugin:
    """`handlers`: method → what to answer (None: an empty answer). `told`: every request, in order."""

    def __init__(
        self, where: Path | socket.socket, name: str = "test", index: str = "10", *, events: int = TELLINGS,
        without: frozenset[str] = frozenset(), handlers: Mapping[str, Handler] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.index, self.events, self.without = name, index, events, without
        self.handlers = dict(handlers or {})
        self.told: list[tuple[str, Any]] = []
        self.synchronized = threading.Event()
        self.closed = threading.Event()
        self._changed = threading.Condition()
        self._answers: dict[int, ttrpc.Responded] = {}
        self._client, self._server = ttrpc.Client(), ttrpc.Server()
        self._writing = threading.Lock()
        self._socket = where if isinstance(where, socket.socket) else socket.socket(socket.AF_UNIX)
        if isinstance(where, Path):
            self._socket.connect(str(where))
        self._threads = [threading.Thread(target=self._read, name="plugin")]
        self._threads[0].start()

    def register(self) -> None:
        self.call("RegisterPlugin", pb.RegisterPluginRequest(plugin_name=self.name, plugin_idx=self.index))

    def join(self) -> Plugin:
        """Register, and wait until the daemon counts this plugin in."""
        self.register()
        assert self.synchronized.wait(WAIT_S), "the daemon did not synchronise"
        return self

    def call(self, method: str, request: Message) -> bytes:
        """A call of the runtime's service; gives the encoded answer."""
        with self._writing:
            stream, frame = self._client.request(RUNTIME, method, request.SerializeToString())
            self._socket.sendall(nri_mux.encode(nri_mux.RUNTIME_SERVICE, frame))
        with self._changed:
            assert self._changed.wait_for(lambda: stream in self._answers or self.closed.is_set(), WAIT_S)
            answer = self._answers.pop(stream, None)
        if answer is None:
            raise ConnectionError("the daemon has closed the connection")
        if answer.code:
            raise Refusal(answer.message)
        return answer.payload

    def update_containers(self, *updates: pb.ContainerUpdate, evict: str = "") -> list[pb.ContainerUpdate]:
        evictions = [pb.ContainerEviction(container_id=evict, reason="test")] if evict else []
        payload = self.call("UpdateContainers", pb.UpdateContainersRequest(update=updates, evict=evictions))
        return list(pb.UpdateContainersResponse.FromString(payload).failed)

    def methods(self) -> list[str]:
        """What was told, after Configure and Synchronize."""
        return [method for method, _ in self.told if method not in ("Configure", "Synchronize")]

    def wait_for(self, method: str, matches: Callable[[Any], bool] = lambda request: True) -> Any:
        """The first request of this method that matches."""

        def find() -> Any:
            return next((request for name, request in self.told if name == method and matches(request)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: find() is not None, WAIT_S), f"not told of {method}: {self.methods()}"
            return find()

    def send_raw(self, data: bytes) -> None:
        with self._writing:
            self._socket.sendall(data)

    def _read(self) -> None:
        decoder = nri_mux.Decoder()
        try:
            while data := self._socket.recv(65536):
                for connection, piece in decoder.feed(data):
                    if connection == nri_mux.PLUGIN_SERVICE:
                        for event in self._server.receive(piece):
                            assert isinstance(event, ttrpc.Requested)
                            thread = threading.Thread(target=self._answer, args=(event,), name=event.method)
                            self._threads.append(thread)
                            thread.start()
                    else:
                        with self._changed:
                            for answer in self._client.receive(piece):
                                assert isinstance(answer, ttrpc.Responded)
                                self._answers[answer.stream] = answer
                            self._changed.notify_all()
        except OSError:
            pass
        finally:
            with self._changed:
                self.closed.set()
                self._changed.notify_all()

    def _answer(self, call: ttrpc.Requested) -> None:
        try:
            frame = self._server.respond(call.stream, self._handle(call).SerializeToString())
        except NotImplementedError:
            frame = self._server.fail(call.stream, ttrpc.Code.UNIMPLEMENTED, "no such method")
        except Refusal as error:
            frame = self._server.fail(call.stream, ttrpc.Code.UNKNOWN, str(error))
        try:
            self.send_raw(nri_mux.encode(nri_mux.PLUGIN_SERVICE, frame))
        except OSError:
            return
        if call.method == "Synchronize":
            self.synchronized.set()

    def _handle(self, call: ttrpc.Requested) -> Message:
        if call.method in self.without:
            raise NotImplementedError
        method = _METHODS[call.method]
        request = getattr(pb, method.input_type.name).FromString(call.payload)
        with self._changed:
            self.told.append((call.method, request))
            self._changed.notify_all()
        answer = self.handlers[call.method](request) if call.method in self.handlers else None
        if answer is None and call.method == "Configure":
            return pb.ConfigureResponse(events=self.events)
        if answer is None and call.method == "Synchronize":
            return pb.SynchronizeResponse(more=request.more)
        return answer or getattr(pb, method.output_type.name)()

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        for thread in self._threads:
            thread.join(WAIT_S)
        self._socket.close()


@contextmanager
def plugin(where: Path, name: str = "test", index: str = "10", **options: Any) -> Iterator[Plugin]:
    """A plugin that has joined, until the end of the block."""
    guest = Plugin(where, name, index, **options)
    try:
        yield guest.join()
    finally:
        guest.close()


def bits(*events: int) -> int:
    """The mask of these events."""
    return sum(1 << (event - 1) for event in events)


def calls_that_are_refused(count: int) -> Iterator[bytes]:
    """Each is answered by 64 KiB of error."""
    for number in range(count):
        request = Request(service=RUNTIME, method="x" * 65536).SerializeToString()
        frame = ttrpc.encode(2 * number + 1, ttrpc.Kind.REQUEST, ttrpc.UNARY, request)
        yield nri_mux.encode(nri_mux.RUNTIME_SERVICE, frame)


def main() -> None:
    """As the daemon starts it: the socket, index and name are in the environment."""
    told = Path(sys.argv[0]).with_suffix(".told")
    connection = socket.socket(fileno=int(os.environ["NRI_PLUGIN_SOCKET"]))
    guest = Plugin(connection, os.environ["NRI_PLUGIN_NAME"], os.environ["NRI_PLUGIN_IDX"])
    guest.join()
    configuration = guest.wait_for("Configure").config
    told.write_text(json.dumps({"config": configuration, "environment": sorted(os.environ), "pid": os.getpid()}))
    guest.closed.wait()
    time.sleep(60)  # noqa: TID251 - a plugin that does not end by itself
