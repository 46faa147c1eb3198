"""What clients see of a backend: the gRPC services, the events, and the streaming server."""

from __future__ import annotations

from collections.abc import Callable

from podwright.composition.base import Assembly
from podwright.config.schema import Config
from podwright.cri.checkpoint_service import CheckpointService
from podwright.cri.events import Events
from podwright.cri.events_service import EventsService
from podwright.cri.image_service import ImageService
from podwright.cri.interceptors import Interceptors
from podwright.cri.list_service import ListService
from podwright.cri.metrics_service import MetricsService
from podwright.cri.podwright_service import PodwrightService
from podwright.cri.runtime_service import RuntimeService
from podwright.cri.server import Server
from podwright.cri.stats_service import StatsService
from podwright.cri.streaming_service import StreamingService
from podwright.criapi import api_pb2, podwright_pb2
from podwright.state.layout import Layout
from podwright.streaming.server import StreamingServer
from podwright.telemetry.metrics import Metrics


class Surfaces:
    """`start` when the backend has recovered; `stop` before it is closed. `serving`: whether calls are answered."""

    def __init__(
        self, config: Config, layout: Layout, assembly: Assembly, metrics: Metrics, serving: Callable[[], bool]
    ) -> None:
        backend = assembly.backend
        self._events = Events(backend, queue_limit=config.server.max_unread_events)
        self._streaming = StreamingServer(config.streaming, backend)
        self._server = Server(config.server, Interceptors(metrics, serving))
        self._server.serve(
            api_pb2.DESCRIPTOR.services_by_name["RuntimeService"],
            RuntimeService(backend, assembly.node, layout),
            ListService(backend),
            StatsService(backend),
            MetricsService(backend),
            EventsService(self._events),
            StreamingService(backend, self._streaming),
            CheckpointService(backend),
        )
        self._server.serve(api_pb2.DESCRIPTOR.services_by_name["ImageService"], ImageService(assembly.images))
        self._server.serve(podwright_pb2.DESCRIPTOR.services_by_name["Podwright"], PodwrightService(assembly.images))
        metrics.gauge("event_listeners", "Open GetContainerEvents streams.", lambda: float(len(self._events)))
        metrics.gauge(
            "streaming_connections", "Open connections of exec, attach and port-forward.",
            lambda: float(len(self._streaming)),
        )  # fmt: skip

    async def start_streaming(self) -> None:
        await self._streaming.start()

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """No new calls; those that run get their time."""
        self._events.close()
        await self._server.stop()

    async def stop_streaming(self) -> None:
        await self._streaming.stop()
