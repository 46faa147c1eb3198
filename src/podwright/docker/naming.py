"""How our containers are called in the engine, and how they are told from everybody else's.

A name says to people what it is, and never is read back: records are the database. But it is made from the record
alone, so that what a crash has left is found by it. Whose a container is, its labels say: of which daemon's root (there
may be several on one engine), and of which record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from podwright.container.model import Container
from podwright.sandbox.model import Sandbox

INSTANCE, ID, KIND = "podwright.instance", "podwright.id", "podwright.kind"
_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_.-]")
_PART_LIMIT = 60


def pod_name(sandbox: Sandbox) -> str:
    """Of the sandbox container: podwright_POD_NAME_NAMESPACE_ID."""
    metadata = sandbox.config.metadata
    return _name("POD", metadata.name, metadata.namespace, sandbox.id)


def container_name(container: Container) -> str:
    """podwright_CONTAINER_ID"""
    return _name(container.config.metadata.name, container.id)


def labels_of(given: Mapping[str, str], *, instance: str, record_id: str, kind: str) -> dict[str, str]:
    """The request's labels, for people's filters, and ours, which nobody can give."""
    theirs = {key: value for key, value in given.items() if not key.startswith("podwright.")}
    return {**theirs, INSTANCE: instance, ID: record_id, KIND: kind}


def _name(*words: str) -> str:
    *parts, record_id = words
    clean = [_NOT_ALLOWED.sub("-", part)[:_PART_LIMIT] for part in parts]
    return "_".join(["podwright", *clean, record_id[:13]])
