"""Prometheus metrics of the daemon: calls by method and code, their latency, and gauges read when asked."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from podwright.base.errors import FailedPrecondition
from podwright.telemetry.settings import host_and_port

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The daemon's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "podwright_operations_total", "CRI calls, by method and gRPC code.", ["method", "code"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "podwright_operation_seconds", "How long CRI calls took.", ["method"], buckets=_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.quarantined = Gauge(
            "podwright_quarantined_records", "Records that were set aside because they could not be read.",
            registry=self.registry,
        )  # fmt: skip

    def observe_call(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge whose value is read at each scrape."""
        Gauge(f"podwright_{name}", text, registry=self.registry).set_function(read)

    def serve(self, address: str) -> Callable[[], None]:
        """Serve /metrics on HOST:PORT in a thread; gives the function that ends it. Raises FailedPrecondition."""
        host, port = host_and_port(address)
        try:
            server, thread = start_http_server(port, host, registry=self.registry)
        except OSError as error:
            raise FailedPrecondition(f"telemetry.metrics_address: can't listen on {address}: {error}") from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop
