"""A unix socket before another one, which writes down what is asked: to show what a program doesn't ask for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PIECE_BYTES = 64 * 1024


@dataclass
class Recorded:
    """`requests`: the first line of each connection, which for a client that keeps none open is each request's."""

    path: Path
    requests: list[str] = field(default_factory=list)


def _copy(record: Recorded, source: socket.socket, sink: socket.socket, *, asks: bool) -> None:
    """All that comes, to its end; `asks`: the first of it is a request."""
    first = asks
    try:
        while data := source.recv(_PIECE_BYTES):
            if first:
                record.requests.append(data.split(b"\r\n", 1)[0].decode(errors="replace"))
                first = False
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            end.close()


@contextmanager
def recorded(path: Path, target: Path) -> Iterator[Recorded]:
    """Listen at `path` and pass everything to `target`. After it no thread is left."""
    record, threads, open_sockets = Recorded(path), list[threading.Thread](), list[socket.socket]()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            open_sockets.extend((client, server))
            server.connect(str(target))
            for source, sink, asks in ((client, server, True), (server, client, False)):
                threads.append(threading.Thread(target=_copy, args=(record, source, sink), kwargs={"asks": asks}))
                threads[-1].start()

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield record
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for each in open_sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in threads:
            thread.join()
        for each in open_sockets:
            each.close()
        path.unlink()
