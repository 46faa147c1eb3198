"""A bundle: a directory with config.json. OCI runtime specification, bundle.md and config.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.oci.runtime_spec import StoredSpec


class Bundle:
    """`spec` is config.json; `document` the same with members that `spec` does not know; `config` its bytes."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidArgument for a configuration that can't be read, or has no command or root file system."""
        self.path = path
        try:
            self.config = (path / "config.json").read_bytes()
            self.spec = msgspec.json.decode(self.config, type=StoredSpec)
            self.document: dict[str, Any] = msgspec.json.decode(self.config)
        except OSError as error:
            raise InvalidArgument(f"{path}/config.json can't be read: {error.strerror}", field="--bundle") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"{path}/config.json is no configuration of a container: {error}") from error
        self.rootfs = path / self.spec.root.path
        if not self.rootfs.is_dir():
            raise InvalidArgument(f"{self.rootfs} is no directory", field="root.path")
        check_process(self.spec.process.args, self.spec.process.cwd)


def check_process(args: list[str], cwd: str) -> None:
    """Raises InvalidArgument."""
    if not args or not args[0]:
        raise InvalidArgument("there is no command", field="process.args")
    if not cwd.startswith("/"):
        raise InvalidArgument(f"{cwd!r} is no absolute path", field="process.cwd")
