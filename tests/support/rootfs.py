"""A root file system of one program: static busybox, with its applets as links. Made once a run, copied by linking."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

APPLETS = (
    "cat", "chmod", "dd", "echo", "env", "false", "head", "hostname", "id", "kill", "ls", "mkdir", "mknod", "mount",
    "printf", "ps", "pwd", "readlink", "rm", "setsid", "sh", "sleep", "stat", "stty", "tail", "test", "touch",
    "true", "tty", "umount", "unshare", "wc", "yes", "nohup", "grep", "find", "tr",
)  # fmt: skip
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n"
GROUP = b"root:x:0:\nweb:x:1000:\nextra:x:50000:web\n"


def busybox_rootfs(directory: Path) -> Path:
    """Make a root file system in `directory`, which must not exist."""
    source = shutil.which("busybox")
    assert source is not None, "busybox-static is not installed"
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "mnt", "home"):
        (directory / name).mkdir(parents=True)
    (directory / "tmp").chmod(0o1777)
    shutil.copyfile(os.path.realpath(source), directory / "bin/busybox")
    (directory / "bin/busybox").chmod(0o755)
    for applet in APPLETS:
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_bytes(PASSWD)
    (directory / "etc/group").write_bytes(GROUP)
    return directory
