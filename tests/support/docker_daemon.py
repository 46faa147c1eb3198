"""A daemon on a Docker Engine: the same words as for any other."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, Daemon
from tests.support.dockerd import Dockerd


class DockerDaemon(Daemon):
    """`podwright serve` with the backend docker, on the engine of the tests."""

    def __init__(self, directory: Path, docker: Dockerd, *, config: str = "", **options: Any) -> None:
        super().__init__(directory, config=f'[docker]\nsocket = "{docker.socket}"\n{config}', **options)
        self.docker = docker
        self.extra_environment = {"PODWRIGHT_BACKEND": "docker"}

    def require_hello(self) -> None:
        """The busybox image, where a test has emptied the engine."""
        if not self.images.ImageStatus(pb.ImageStatusRequest(image=pb.ImageSpec(image=HELLO))).image.id:
            self.load_hello()

    def in_engine(self, record_id: str) -> dict[str, Any]:
        """What Docker says of the container of a pod or container."""
        filters = f'{{"label":["podwright.id={record_id}"]}}'
        (listed,) = self.docker.request("GET", "/containers/json", all="1", filters=filters)[1]
        found = self.docker.request("GET", f"/containers/{listed['Id']}/json")[1]
        assert isinstance(found, dict)
        return found

    def instance(self) -> str:
        """The word in the labels of this daemon's containers."""
        with closing(sqlite3.connect(f"file:{self.root}/state.db?mode=ro", uri=True)) as database:
            (record,) = database.execute("SELECT record FROM docker_instance").fetchone()
        return str(json.loads(record)["word"])

    def in_docker(self) -> list[str]:
        """The names of this daemon's containers in the engine, whether it runs or not."""
        filters = json.dumps({"label": [f"podwright.instance={self.instance()}"]})
        listed = self.docker.request("GET", "/containers/json", all="1", filters=filters)[1]
        return sorted(each["Names"][0] for each in listed)


@contextmanager
def serving_docker(daemon: DockerDaemon) -> Iterator[DockerDaemon]:
    """A daemon with the busybox image. After it nothing may be left, in Docker neither."""
    daemon.start()
    try:
        daemon.load_hello()
        yield daemon
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []
    assert daemon.in_docker() == []
