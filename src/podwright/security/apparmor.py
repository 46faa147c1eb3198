"""AppArmor: whether this kernel has it, and which profile a container gets. apparmor(7).

RuntimeDefault means the profile named in `DEFAULT_PROFILE`: the daemon loads its own one at start, unless the
administrator has loaded another by that name; where neither worked there is none. A Localhost profile must be loaded.
"""

from __future__ import annotations

import functools
import os
from importlib.resources import files
from pathlib import Path

from podwright.base.errors import FailedPrecondition, NotFound, PodwrightError
from podwright.base.log import get_logger
from podwright.linux.process import run

log = get_logger(__name__)

DEFAULT_PROFILE = "podwright-default"
_LOAD_TIMEOUT_S = 30.0
_ENABLED = Path("/sys/module/apparmor/parameters/enabled")
_LOADED = Path("/sys/kernel/security/apparmor/profiles")


@functools.cache
def available() -> bool:
    """Whether this kernel has AppArmor, and uses it."""
    try:
        return _ENABLED.read_text().startswith("Y") and os.access(_LOADED, os.R_OK)
    except OSError:
        return False


async def load_default() -> None:
    """Load the default profile where the kernel has AppArmor and no profile of that name; failing is logged.

    A profile of that name may be in use by containers that an earlier daemon made, and is left as it is.
    """
    if not available() or DEFAULT_PROFILE in _loaded():
        return
    profile = (files("podwright.security") / "default.apparmor").read_bytes()
    try:
        await run(["apparmor_parser", "--add", "--skip-cache"], stdin=profile, timeout_s=_LOAD_TIMEOUT_S)
    except PodwrightError as error:
        log.warning("containers run without an AppArmor profile: the default one can't be loaded", error=str(error))


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
