"""Settings of devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`[device]`"""

    cdi_spec_dirs: tuple[Path, ...] = field(
        default=(Path("/etc/cdi"), Path("/var/run/cdi")),
        metadata={
            "help": "Directories of Container Device Interface specifications (*.json, *.yaml). A device in a later\n"
            "one replaces its namesake in an earlier one; changes are seen without a restart. Empty: no CDI."
        },
    )
    device_ownership_from_security_context: bool = field(
        default=False,
        metadata={
            "help": "Whether a container's device nodes belong to its run_as_user and run_as_group instead of the\n"
            "owners that they have on the host."
        },
    )
