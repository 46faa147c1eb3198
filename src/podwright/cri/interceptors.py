"""What every call passes through: readiness, log context, metrics, and errors as gRPC codes.

The layers are put around a method once, when it is registered, not looked up at each call: the kubelet polls
lists every second. A handler stays a plain `async def method(request) -> response` that raises our errors.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from podwright.base.errors import PodwrightError, Unavailable
from podwright.base.log import get_logger, log_context
from podwright.cri.errors import status_of
from podwright.telemetry.metrics import Metrics

log = get_logger(__name__)

Unary = Callable[[Any], Awaitable[Message]]
Streaming = Callable[[Any], AsyncIterator[Message]]

# W3C Trace Context, "traceparent": version, trace id, parent id, flags. The kubelet sends it where its tracing is on.
_TRACE_PARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

# Polled by the kubelet, so logged only when they fail or at level debug.
_QUIET = ("List", "Status", "Version", "ImageFsInfo", "Stats", "Metric", "Stream", "PullProgress", "RuntimeConfig")


class Interceptors:
    """Wraps methods. `ready` says whether calls may be served; `stage_of` how far a joined work has come."""

    def __init__(self, metrics: Metrics, ready: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._ready = ready

    def unary(
        self, name: str, method: Unary
    ) -> Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]:
        quiet = any(word in name for word in _QUIET)

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            started = time.perf_counter()
            with log_context(**subject_of(request), **trace_of(context)):
                try:
                    self._require_ready(name)
                    response = await method(request)
                except BaseException as error:
                    code, message = self._failed(name, error, started)
                    if isinstance(error, asyncio.CancelledError):
                        raise
                    await context.abort(code, message)
                    raise  # abort never returns; this tells the type checker
                self._succeeded(name, started, quiet=quiet)
                return response

        return call

    def streaming(
        self, name: str, method: Streaming
    ) -> Callable[[Any, grpc.aio.ServicerContext[Any, Any]], AsyncIterator[Message]]:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Message]:
            started = time.perf_counter()
            with log_context(**subject_of(request), **trace_of(context)):
                try:
                    self._require_ready(name)
                    async for message in method(request):
                        yield message
                except (GeneratorExit, asyncio.CancelledError):
                    self._metrics.observe_call(name, "CANCELLED", time.perf_counter() - started)
                    raise
                except BaseException as error:
                    code, text = self._failed(name, error, started)
                    await context.abort(code, text)
                self._succeeded(name, started, quiet=True)

        return call

    def _require_ready(self, name: str) -> None:
        if not self._ready():
            raise Unavailable(f"{name}: the daemon is starting or stopping; try again")

    def _succeeded(self, name: str, started: float, *, quiet: bool) -> None:
        seconds = time.perf_counter() - started
        self._metrics.observe_call(name, "OK", seconds)
        (log.debug if quiet else log.info)("call done", rpc=name, took_ms=round(seconds * 1000, 1))

    def _failed(self, name: str, error: BaseException, started: float) -> tuple[grpc.StatusCode, str]:
        seconds = time.perf_counter() - started
        if isinstance(error, asyncio.CancelledError):
            code, message = grpc.StatusCode.CANCELLED, "the caller went away; the work goes on"
        else:
            code, message = status_of(error)
        self._metrics.observe_call(name, code.name, seconds)
        expected = isinstance(error, PodwrightError | OSError | asyncio.CancelledError)
        fields = {"rpc": name, "code": code.name, "error": message, "took_ms": round(seconds * 1000, 1)}
        if code == grpc.StatusCode.NOT_FOUND:
            log.info("call failed", **fields)  # the kubelet asks after what it has just removed
        elif expected:
            log.warning("call failed", **fields)
        else:
            log.error("call failed by a bug", exc_info=error, **fields)
        return code, message


def trace_of(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    """The caller's trace id, by which the log lines of a call are found beside its spans."""
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent" and isinstance(value, str) and (found := _TRACE_PARENT.match(value)):
            return {"trace": found[1]}
    return {}


def subject_of(request: Any) -> dict[str, str]:
    """Which pod, container or image a request is about, for the log lines written while it is served."""
    fields = request.DESCRIPTOR.fields_by_name
    subject: dict[str, str] = {}
    if "pod_sandbox_id" in fields and request.pod_sandbox_id:
        subject["pod"] = request.pod_sandbox_id[:13]
    if "container_id" in fields and request.container_id:
        subject["container"] = request.container_id[:13]
    if "config" in fields and "metadata" in request.config.DESCRIPTOR.fields_by_name:
        metadata = request.config.metadata
        if "namespace" in metadata.DESCRIPTOR.fields_by_name:
            subject["pod"] = f"{metadata.namespace}/{metadata.name}"
        else:
            subject["container_name"] = metadata.name
    if "image" in fields and fields["image"].message_type is not None:
        subject["image"] = request.image.image
    return subject
