"""Which capabilities the engine gives: old ones don't know the newer names, and new ones (from 23.0 on) refuse those
that dockerd itself does not have."""

from __future__ import annotations

import re

from podwright.base.errors import InvalidArgument
from podwright.docker.answers import Created
from podwright.docker.engine import Engine
from podwright.docker.errors import NoSuchObject
from podwright.linux.capability_sets import CAPABILITY_NAMES

# Never pulled: an engine that knows all the names goes on to look for it.
_NO_IMAGE = "podwright.invalid/none:none"
_REFUSED = re.compile(r'(?:unknown capability|invalid CapAdd: [a-z ]+): "?(CAP_[A-Z_]+)')


async def known_capabilities(engine: Engine) -> frozenset[str]:
    """Asked by requests that make nothing; the engine checks capabilities before it looks for the image."""
    known = set(CAPABILITY_NAMES)
    while True:
        body = {"Image": _NO_IMAGE, "HostConfig": {"CapAdd": sorted(known)}}
        try:
            await engine.post("/containers/create", Created, body)
        except NoSuchObject:
            return frozenset(known)
        except InvalidArgument as refused:
            unknown = _REFUSED.search(str(refused))
            if unknown is None or unknown[1] not in known:
                raise
            known.discard(unknown[1])
