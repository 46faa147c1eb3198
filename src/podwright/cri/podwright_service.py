"""podwright.v1.Podwright: what an administrator wants and the CRI has no words for: pull progress, archives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from podwright.backend.images import ImageBackend
from podwright.base.errors import AlreadyExists, InvalidArgument
from podwright.cri.validate import required
from podwright.criapi import podwright_pb2 as pb
from podwright.image.progress import Phase, PullProgress

_PHASES = {
    Phase.WAITING: pb.LayerProgress.WAITING,
    Phase.FETCHING: pb.LayerProgress.FETCHING,
    Phase.UNPACKING: pb.LayerProgress.UNPACKING,
    Phase.DONE: pb.LayerProgress.DONE,
    Phase.EXISTS: pb.LayerProgress.EXISTS,
}


class PodwrightService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, images: ImageBackend) -> None:
        self._images = images

    async def PullProgress(self, request: pb.PullProgressRequest) -> AsyncIterator[pb.PullProgressEvent]:
        async for progress in self._images.watch(required(request.image, "image")):
            yield _progress_event(progress)

    async def LoadImage(self, request: pb.LoadImageRequest) -> pb.LoadImageResponse:
        loaded = await self._images.load(_host_path(request.path), names=list(request.tags))
        names = [tag for image in loaded for tag in image.tags]
        return pb.LoadImageResponse(ids=[image.record.id for image in loaded], names=names)

    async def SaveImage(self, request: pb.SaveImageRequest) -> pb.SaveImageResponse:
        path = _host_path(request.path)
        if path.exists():
            raise AlreadyExists(f"path: {path} exists; remove it first")
        if not request.images:
            raise InvalidArgument("must name at least one image", field="images")
        if request.format not in ("", "oci", "docker"):
            raise InvalidArgument(f"must be 'oci' or 'docker', not {request.format!r}", field="format")
        await self._images.save(list(request.images), path, "docker" if request.format == "docker" else "oci")
        return pb.SaveImageResponse(bytes_written=path.stat().st_size)


def _host_path(text: str) -> Path:
    path = Path(required(text, "path"))
    if not path.is_absolute():
        raise InvalidArgument(f"must be an absolute path, not {text!r}", field="path")
    return path


def _progress_event(progress: PullProgress) -> pb.PullProgressEvent:
    return pb.PullProgressEvent(
        reference=progress.reference, finished=progress.finished, error=progress.error,
        layers=[
            pb.LayerProgress(
                digest=layer.digest, phase=_PHASES[layer.phase], bytes_done=layer.bytes_done,
                bytes_total=layer.bytes_total,
            )
            for layer in progress.layers
        ],
    )  # fmt: skip
