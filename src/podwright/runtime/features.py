"""What a runtime can do: asked with `runtime features` where it has that verb, else known for its kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

from podwright.linux.process import run
from podwright.runtime.base import Features


async def read_features(program: Path) -> Features:
    """Two processes, once. The OCI features document: runtime-spec, features.md."""
    version_text = (await run([program, "--version"], check=False)).stdout.decode(errors="replace")
    version = match[0] if (match := re.search(r"\d+(?:\.\d+)+", version_text)) else ""
    done = await run([program, "features"], check=False)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return Features(program.name, version, seccomp="seccomp" in version_text.lower())
    linux = document.get("linux") or {}
    extensions = linux.get("mountExtensions") or {}
    return Features(
        program.name, version, mount_options=frozenset(map(str, document.get("mountOptions") or ())),
        seccomp=bool((linux.get("seccomp") or {}).get("enabled")),
        user_namespaces="user" in (linux.get("namespaces") or ()),
        idmapped_mounts=bool((extensions.get("idmap") or {}).get("enabled")),
    )  # fmt: skip
