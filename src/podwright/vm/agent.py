"""The host's end of the connection to a machine's agent: requests, notices, streams. docs/vm.md, "Protocol".

The keeper owns the one connection; it always reads, as the protocol wants. Bytes of streams go between descriptors of
the host and the machine under the streams' own credit, so that a slow one holds up no other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from podwright.base.errors import DeadlineExceeded, PodwrightError, Unavailable
from podwright.base.tasks import Tasks
from podwright.vm.control import Message, error_of
from podwright.vm.streams import Input, Output
from podwright.wire import guest_frames as frames

_READ_BYTES = 256 * 1024
_FIRST_FREE = 1 << 32


class Agent:
    """`notice` is called with each notice but the first. `run` reads until the machine is gone."""

    def __init__(self, connected: socket.socket, tasks: Tasks, notice: Callable[[Message], None]) -> None:
        self._socket, self._tasks, self._notice = connected, tasks, notice
        self._writer: asyncio.StreamWriter | None = None
        self.streams = frames.Streams()
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self._outputs: dict[int, Output] = {}
        self._inputs: dict[int, Input] = {}
        self._request = self._stream = 0
        self._hello: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._why_gone = ""

    async def run(self) -> None:
        """Returns when the connection has ended, by whatever end; all that waits for an answer gets Unavailable."""
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        decoder = frames.Decoder()
        self._why_gone = "the virtual machine's agent is gone"
        try:
            while data := await reader.read(_READ_BYTES):
                for frame in decoder.feed(data):
                    self._take(frame)
        except (frames.ProtocolError, msgspec.MsgspecError) as error:
            self._why_gone = f"the virtual machine's agent speaks no sense: {error}"
        except OSError:
            pass
        finally:
            self._writer.close()
            for waiting in (*self._pending.values(), self._hello):
                if not waiting.done():
                    waiting.set_exception(Unavailable(self._why_gone))
                    waiting.exception()  # fetched, so that nobody logs it
            for output in list(self._outputs.values()):
                output.ended()

    async def hello(self, timeout_s: float) -> Message:
        """The agent's first notice. Raises DeadlineExceeded, Unavailable."""
        try:
            async with asyncio.timeout(timeout_s):
                said = await asyncio.shield(self._hello)
        except TimeoutError:
            raise DeadlineExceeded(f"the virtual machine did not come up within {timeout_s:g} s") from None
        if said.get("protocol") != frames.PROTOCOL:
            raise Unavailable(
                f"the guest's agent speaks protocol {said.get('protocol')}, not {frames.PROTOCOL}: "
                "run podwright-vm build-guest"
            )
        return said

    async def request(self, message: Message, *, timeout_s: float | None = 60.0) -> Message:
        """One request with its answer. Raises what the agent tells, Unavailable, DeadlineExceeded."""
        if self._writer is None or self._writer.is_closing():
            raise Unavailable(self._why_gone)
        self._request = (self._request + 1) % _FIRST_FREE
        number = self._request
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        try:
            self.send(frames.encode(frames.REQUEST, number, msgspec.json.encode(message)))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise DeadlineExceeded(f"the virtual machine's agent does not answer to {message['verb']}") from None
        finally:
            self._pending.pop(number, None)

    def send(self, data: bytes) -> None:
        """Frames, whole ones."""
        if data and self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    def open_input(self, descriptor: int) -> Input:
        """A stream for what can be read from `descriptor`, which becomes the stream's to close. To be begun when the
        agent knows the stream: it drops what comes before."""
        number = self._new_stream()
        self.streams.open_sending(number)
        stream = Input(self, number, descriptor)
        self._inputs[number] = stream
        return stream

    def begin(self, stream: Input) -> None:
        """Carry the input from now on."""
        self._tasks.start(stream.run(), name=f"input {stream.number}")

    def open_output(self, descriptor: int) -> Output:
        """A stream whose bytes go to `descriptor`, which becomes the stream's to close."""
        number = self._new_stream()
        self.streams.open_receiving(number)
        stream = Output(self, number, descriptor)
        self._outputs[number] = stream
        self._tasks.start(stream.run(), name=f"output {number}")
        return stream

    def closed(self, stream: int) -> None:
        """A stream has ended on our side."""
        self._inputs.pop(stream, None)
        self._outputs.pop(stream, None)

    def _new_stream(self) -> int:
        self._stream = (self._stream + 1) % _FIRST_FREE or 1
        return self._stream

    def _take(self, frame: frames.Frame) -> None:
        if frame.kind in (frames.RESPONSE, frames.FAILURE):
            waiting = self._pending.get(frame.id)
            if waiting is not None and not waiting.done():
                told: Message = msgspec.json.decode(frame.body)
                if frame.kind == frames.RESPONSE:
                    waiting.set_result(told)
                else:
                    waiting.set_exception(error_of(told))
        elif frame.kind == frames.NOTICE:
            self._noticed(msgspec.json.decode(frame.body))
        elif frame.kind == frames.REQUEST:
            raise frames.ProtocolError("it asks")
        elif self.streams.receive(frame):
            self._stream_frame(frame)

    def _noticed(self, message: Message) -> None:
        if message.get("notice") == "hello":
            if not self._hello.done():
                self._hello.set_result(message)
            return
        try:
            self._notice(message)
        except PodwrightError as error:
            raise frames.ProtocolError(str(error)) from error

    def _stream_frame(self, frame: frames.Frame) -> None:
        output: Any = self._outputs.get(frame.id)
        source = self._inputs.get(frame.id)
        if frame.kind == frames.DATA and output is not None:
            output.received(frame.body)
        elif frame.kind == frames.END and output is not None:
            output.ended()
        elif frame.kind in (frames.CREDIT, frames.RESET) and source is not None:
            source.wake()
