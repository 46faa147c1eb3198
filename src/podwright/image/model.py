"""What an image is to the rest of the house: its record, and what is derived from it. Pure."""

from __future__ import annotations

import json
import re

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.oci.digest import Digest
from podwright.oci.image import Platform, RunConfig
from podwright.oci.reference import parse_reference
from podwright.snapshot.chain import chain_id

_MAX_UID = 2**63 - 1  # Int64Value of the CRI
_NUMBER = re.compile(r"[0-9]+\Z")


class ImageRecord(msgspec.Struct, frozen=True):
    """An image that is here, whole. `id` is its configuration's digest.

    `blobs`: what the content store keeps for it (manifests, configuration, layers), with sizes in bytes.
    `manifest`: the platform's own manifest; an index, where there was one, is among the blobs. `diff_ids`: its layers,
    the lowest first; the name of their stack is their chain id. `size_bytes`: what blobs and unpacked layers take.
    """

    id: Digest
    repo_tags: list[str]
    repo_digests: list[str]
    manifest: Digest
    blobs: dict[Digest, int]
    diff_ids: list[Digest]
    config: RunConfig
    platform: Platform
    size_bytes: int
    pulled_at: int
    created: str = ""
    pinned: bool = False

    def reference_for(self, *names: str) -> str:
        """repository@digest: of the repository that the first of `names` with one speaks of, else of any; the id of
        an image that came from no registry."""
        by_repository: dict[str, str] = {}
        for known in self.repo_digests:
            by_repository.setdefault(known.partition("@")[0], known)
        for name in names:
            if name in self.repo_digests:
                return name
            try:
                repository = parse_reference(name).name
            except InvalidArgument:  # an id, or nothing
                continue
            if repository in by_repository:
                return by_repository[repository]
        return next(iter(self.repo_digests), self.id)

    def user_identity(self) -> tuple[int | None, str]:
        """USER as ImageStatus has it: a uid, or else a username; the group is dropped, and no USER is (None, "")."""
        user = self.config.user.partition(":")[0]
        if _NUMBER.match(user) and int(user) <= _MAX_UID:
            return int(user), ""
        return None, user

    def info_json(self) -> str:
        """What a verbose ImageStatus adds; `imageSpec` has the OCI configuration's names, as crictl shows them."""
        run = self.config
        config = {
            "User": run.user, "Env": run.env, "Entrypoint": run.entrypoint, "Cmd": run.cmd,
            "WorkingDir": run.working_dir, "StopSignal": run.stop_signal, "Labels": run.labels,
            "Volumes": {path: {} for path in run.volumes}, "ExposedPorts": {port: {} for port in run.exposed_ports},
        }  # fmt: skip
        return json.dumps({
            "chainID": chain_id(self.diff_ids),
            "manifest": self.manifest,
            "pulledAt": self.pulled_at,
            "imageSpec": {
                "created": self.created, "os": self.platform.os, "architecture": self.platform.architecture,
                "variant": self.platform.variant, "config": {key: value for key, value in config.items() if value},
                "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            },
        })  # fmt: skip
