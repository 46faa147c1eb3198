"""podwright-vm: pods as virtual machines. It has runc's command line, and is driven by that.

The pod's sandbox container brings the machine, its containers join it. Each has a process on the host that ends with
its exit code, as a monitor expects; why one ended that was not to blame, the runtime leaves in a file.
"""

from __future__ import annotations

import msgspec

from podwright.runtime.base import Usage
from podwright.runtime.cli import CliRuntime
from podwright.runtime.usage import read_usage

_END = "end.json"


class _End(msgspec.Struct):
    """How a container ended, by its machine's keeper."""

    code: int = 0
    oom: bool = False
    lost: str = ""


class VmRuntime(CliRuntime):
    """Implements `base.Runtime`."""

    own_kernel = True

    def _end(self, container_id: str) -> _End | None:
        """None while it runs, and where nobody was left to write it down."""
        try:
            return msgspec.json.decode((self._root / container_id / _END).read_bytes(), type=_End)
        except (OSError, msgspec.MsgspecError):
            return None

    def lost(self, container_id: str) -> str:
        if not self._knows(container_id):
            return ""
        end = self._end(container_id)
        return "the pod's virtual machine has ended: its keeper was killed" if end is None else end.lost

    def out_of_memory(self, container_id: str) -> bool:
        end = self._end(container_id)
        return end is not None and end.oom

    async def usage(self, container_id: str) -> Usage | None:
        return await read_usage(self._argv, container_id, timeout_s=self._timeout_s)
