"""runtime.v1.ImageService: pulls, lists and removes whoever keeps the images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from podwright.backend.images import ImageBackend
from podwright.base.errors import InvalidArgument
from podwright.cri import render
from podwright.cri.chunks import chunks
from podwright.criapi import api_pb2 as pb
from podwright.image.model import ImageRecord
from podwright.registry.base import Credentials, make_credentials


class ImageService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, images: ImageBackend) -> None:
        self._images = images

    async def PullImage(self, request: pb.PullImageRequest) -> pb.PullImageResponse:
        name = _image_name(request.image, "image.image")
        auth = credentials(request.auth) if request.HasField("auth") else None
        record = await self._images.pull(name, credentials=auth)
        return pb.PullImageResponse(image_ref=record.id)

    async def ImageStatus(self, request: pb.ImageStatusRequest) -> pb.ImageStatusResponse:
        record = await self._images.find(_image_name(request.image, "image.image"))
        if record is None:
            return pb.ImageStatusResponse()
        info = {"info": record.info_json()} if request.verbose else {}
        return pb.ImageStatusResponse(image=render.image(record), info=info)

    async def ListImages(self, request: pb.ListImagesRequest) -> pb.ListImagesResponse:
        return pb.ListImagesResponse(images=map(render.image, await self._matching(request.filter)))

    async def StreamImages(self, request: pb.StreamImagesRequest) -> AsyncIterator[pb.StreamImagesResponse]:
        for chunk in chunks(map(render.image, await self._matching(request.filter))):
            yield pb.StreamImagesResponse(images=chunk)

    async def _matching(self, wanted: pb.ImageFilter) -> Sequence[ImageRecord]:
        if not wanted.image.image:
            return await self._images.all()
        record = await self._images.find(wanted.image.image)
        return [] if record is None else [record]

    async def RemoveImage(self, request: pb.RemoveImageRequest) -> pb.RemoveImageResponse:
        await self._images.remove(_image_name(request.image, "image.image"))
        return pb.RemoveImageResponse()

    async def ImageFsInfo(self, request: pb.ImageFsInfoRequest) -> pb.ImageFsInfoResponse:
        usage = render.filesystem_usage(await self._images.usage())
        return pb.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])


def _image_name(spec: pb.ImageSpec, field: str) -> str:
    if not spec.image:
        raise InvalidArgument("must name an image", field=field)
    return spec.image


def credentials(auth: pb.AuthConfig) -> Credentials | None:
    """The kubelet's credentials; None when the message is empty. Raises InvalidArgument."""
    try:
        return make_credentials(
            username=auth.username, password=auth.password, auth=auth.auth, identity_token=auth.identity_token,
            registry_token=auth.registry_token, server_address=auth.server_address,
        )  # fmt: skip
    except InvalidArgument as error:
        raise InvalidArgument(str(error), field="auth.auth") from None
