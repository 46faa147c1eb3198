"""CDI specifications, in short words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def spec(*names: str, version: str = "1.0.0", kind: str = "vendor.com/dev", **more: Any) -> dict[str, Any]:
    """A specification whose devices each set a variable with their name."""
    devices = [{"name": name, "containerEdits": {"env": [f"DEVICE_{name}=1"]}} for name in names or ("a",)]
    return {"cdiVersion": version, "kind": kind, "devices": devices, **more}


def editing(version: str = "1.0.0", **edits: Any) -> dict[str, Any]:
    """A specification of one device with these edits."""
    return {**spec(version=version), "devices": [{"name": "a", "containerEdits": edits}]}


def encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(content))
    return path
