"""AppArmor: whether this kernel has it, and which profile a container gets. apparmor(7).

Podwright ships no profile of its own: RuntimeDefault means the profile named in `DEFAULT_PROFILE` where the
administrator has loaded it, and none where not; a Localhost profile must be loaded.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from podwright.base.errors import FailedPrecondition, NotFound

DEFAULT_PROFILE = "podwright-default"
_ENABLED = Path("/sys/module/apparmor/parameters/enabled")
_LOADED = Path("/sys/kernel/security/apparmor/profiles")


@functools.cache
def available() -> bool:
    """Whether this kernel has AppArmor, and uses it."""
    try:
        return _ENABLED.read_text().startswith("Y") and os.access(_LOADED, os.R_OK)
    except OSError:
        return False


def default_profile() -> str:
    """The profile's name for RuntimeDefault; '' for none."""
    return DEFAULT_PROFILE if available() and DEFAULT_PROFILE in _loaded() else ""


def localhost_profile(name: str) -> str:
    """The name of a profile that must be loaded. Raises FailedPrecondition without AppArmor, NotFound."""
    if not available():
        raise FailedPrecondition(f"AppArmor profile {name!r} is asked for, but this kernel has no AppArmor")
    if name not in _loaded():
        raise NotFound(f"AppArmor profile {name!r} is not loaded: load it with apparmor_parser -r FILE")
    return name


def _loaded() -> frozenset[str]:
    """Lines read 'name (mode)'."""
    return frozenset(line.rsplit(" (", 1)[0] for line in _LOADED.read_text().splitlines())
