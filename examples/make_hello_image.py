"""Build a container image from the host's static busybox: a docker-archive that `podwright image load` takes.

Usage: make_hello_image.py OUT.tar [NAME]. Needs no registry and no other tool: an image is some tar files and JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import sys
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "cat", "date", "echo", "env", "grep", "hostname", "httpd", "id", "ls", "ps", "sleep", "wget")
NAME = "localhost/podwright/hello:latest"


def layer() -> bytes:
    """/bin with busybox and links to it, and the few files that programs expect."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in ("bin", "etc", "tmp", "www"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        add_file(tar, "bin/busybox", BUSYBOX.read_bytes(), 0o755)
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        add_file(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", 0o644)
        add_file(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)
    return buffer.getvalue()


def add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def image(name: str) -> bytes:
    """A docker-archive: manifest.json, a configuration, one layer."""
    content = layer()
    diff_id = f"sha256:{hashlib.sha256(content).hexdigest()}"
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "make_hello_image.py"}],
    }
    config_data = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(config_data).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_file(tar, "layer.tar", content, 0o644)
        add_file(tar, config_name, config_data, 0o644)
        add_file(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if not BUSYBOX.exists():
        sys.exit(f"{BUSYBOX} is missing: apt-get install busybox-static")
    Path(sys.argv[1]).write_bytes(image(sys.argv[2] if len(sys.argv) == 3 else NAME))
