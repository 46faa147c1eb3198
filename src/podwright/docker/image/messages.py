"""What the engine tells while it pulls, as bytes and as progress. No I/O.

JSON objects, one after the other: {"id": "3f4ac1…", "status": "Downloading", "progressDetail": {"current": 1, "total":
2}}, {"status": "Digest: sha256:…"}, {"error": "…"}. A layer goes by the first twelve digits of its blob's digest. moby,
pkg/jsonmessage; the words are those of distribution/pull_v2.go and distribution/xfer/download.go.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from podwright.docker.errors import EngineFailed
from podwright.image.progress import LayerProgress, Phase, PullTracker
from podwright.oci.digest import Digest, is_digest

_LINE_LIMIT_BYTES = 1024 * 1024
_MAX_LAYERS = 1000
_DIGEST = "Digest: "
_PHASES = {
    "Pulling fs layer": Phase.WAITING, "Waiting": Phase.WAITING,
    "Downloading": Phase.FETCHING, "Verifying Checksum": Phase.FETCHING, "Download complete": Phase.FETCHING,
    "Extracting": Phase.UNPACKING, "Pull complete": Phase.DONE, "Already exists": Phase.EXISTS,
}  # fmt: skip
_RETRYING = "Retrying in "


class Detail(msgspec.Struct):
    """How far a step is, in bytes."""

    current: int = 0
    total: int = 0


class Message(msgspec.Struct):
    """One object. `stream` is what builds and loads print."""

    id: str = ""
    status: str = ""
    detail: Detail | None = msgspec.field(default=None, name="progressDetail")
    error: str = ""
    stream: str = ""


class MessageReader:
    """Bytes in pieces of any size to messages."""

    def __init__(self) -> None:
        self._rest = b""
        self._decoder = msgspec.json.Decoder(Message)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that end in `data`. Raises EngineFailed for what is none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_LIMIT_BYTES:
            raise EngineFailed(f"Docker sends a message of more than {_LINE_LIMIT_BYTES} bytes", 200)
        for line in lines:
            if line.strip():
                yield self._decode(line)

    def _decode(self, line: bytes) -> Message:
        try:
            return self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EngineFailed(f"Docker sends a message that we don't understand: {error}", 200) from error


class PullStory:
    """The messages of one pull: its layers go to a tracker, the digest and what failed are kept."""

    def __init__(self, tracker: PullTracker) -> None:
        self._tracker = tracker
        self._layers: dict[str, LayerProgress] = {}
        self.digest: Digest | None = None
        """What the reference means, once the pull is done: the digest of its manifest or index."""
        self.error = ""

    @property
    def unpacking(self) -> bool:
        """Whether a layer is written to disk, which may take a while without a word."""
        return any(layer.phase == Phase.UNPACKING for layer in self._layers.values())

    @property
    def waiting_for(self) -> str:
        """The layers that have to come, for people."""
        missing = [name for name, layer in self._layers.items() if layer.phase in (Phase.WAITING, Phase.FETCHING)]
        return ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")

    def take(self, message: Message) -> None:
        if message.error:
            self.error = self.error or message.error
        elif message.status.startswith(_DIGEST):
            digest = message.status.removeprefix(_DIGEST).strip()
            self.digest = Digest(digest) if is_digest(digest) else None
        elif message.id and (phase := self._phase(message.status)) is not None:
            self._move(message, phase)

    def _phase(self, status: str) -> Phase | None:
        return Phase.FETCHING if status.startswith(_RETRYING) else _PHASES.get(status)

    def _move(self, message: Message, phase: Phase) -> None:
        before = self._layers.get(message.id)
        if before is None and len(self._layers) >= _MAX_LAYERS:
            return
        done, total = (before.bytes_done, before.bytes_total) if before else (0, 0)
        if message.status == "Downloading" and message.detail is not None:
            done, total = message.detail.current, max(message.detail.total, message.detail.current)
        elif message.status != "Verifying Checksum" and phase in (Phase.FETCHING, Phase.UNPACKING, Phase.DONE):
            done = 0 if message.status.startswith(_RETRYING) else total
        self._layers[message.id] = LayerProgress(Digest(f"sha256:{message.id}"), phase, done, total)
        self._tracker.show(tuple(self._layers.values()))
