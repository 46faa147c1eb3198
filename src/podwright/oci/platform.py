"""Which manifest of an index fits a machine. Pure; the machine's facts are read once by `host_platform`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from podwright.base.errors import NotFound
from podwright.oci.image import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Index, Platform

__all__ = ["NoPlatform", "Platform", "choose", "host_platform", "same_platform"]

# uname(2)'s machine → GOARCH and variant, as images name them.
_MACHINES = {
    "x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "i686": ("386", ""), "i386": ("386", ""), "ppc64le": ("ppc64le", ""), "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""), "loongarch64": ("loong64", ""), "mips64": ("mips64le", ""),
}  # fmt: skip

# The x86-64 psABI's micro-architecture levels, by names of /proc/cpuinfo's flags; a level needs those below it.
_AMD64_LEVELS = {
    "v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
    "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
_ATTESTATION = "vnd.docker.reference.type"


class NoPlatform(NotFound):
    """An index has nothing for this machine; the message lists what it has."""


def host_platform() -> Platform:
    """This machine. An amd64's variant is the psABI level that its CPU flags reach ("" for the base level)."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    if architecture == "amd64":
        variant = _amd64_level(_cpu_flags(Path("/proc/cpuinfo")))
    return Platform("linux", architecture, variant)


def _cpu_flags(cpuinfo: Path) -> set[str]:
    with cpuinfo.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    return set()


def _amd64_level(flags: set[str]) -> str:
    reached = ""
    for level, needed in _AMD64_LEVELS.items():
        if not needed <= flags:
            break
        reached = level
    return reached


def choose(index: Index, platform: Platform, *, name: str = "the image") -> Descriptor:
    """The entry that fits `platform` best; it may be an index again. Raises NoPlatform.

    Order: the machine's own variant, then older ones, then a 32-bit architecture that the CPU runs as well; among
    equals the first. Entries that name no platform are taken when no other fits. Attestations never are.
    """
    entries = [entry for entry in index.manifests if _is_image(entry)]
    for wanted in _acceptable(platform):
        for entry in entries:
            if entry.platform is not None and same_platform(entry.platform, wanted):
                return entry
    for entry in entries:
        if entry.platform is None or not (entry.platform.os or entry.platform.architecture):
            return entry
    present = sorted({str(entry.platform) for entry in entries})
    raise NoPlatform(f"{name} has nothing for {platform}: it has {', '.join(present[:20]) or 'no manifests at all'}")


def same_platform(one: Platform, other: Platform) -> bool:
    """Whether two names mean the same platform: no variant is "v8" for arm64, "v7" for arm, "v1" for amd64."""
    return (one.os, one.architecture, _variant(one)) == (other.os, other.architecture, _variant(other))


def _variant(platform: Platform) -> str:
    default = {"arm64": "v8", "arm": "v7", "amd64": "v1"}.get(platform.architecture, "")
    variant = platform.variant or default
    # Some tools wrote the bare number.
    return f"v{variant}" if variant.isdigit() else variant


def _is_image(entry: Descriptor) -> bool:
    if entry.media_type not in INDEX_TYPES | MANIFEST_TYPES or _ATTESTATION in (entry.annotations or {}):
        return False
    return entry.platform is None or (entry.platform.os, entry.platform.architecture) != ("unknown", "unknown")


def _acceptable(host: Platform) -> Iterator[Platform]:
    """What a machine can run, the best first."""
    for variant in _older_variants(host):
        yield Platform(host.os, host.architecture, variant)
    if host.architecture == "arm64":
        yield from _acceptable(Platform(host.os, "arm", "v8"))
    elif host.architecture == "amd64":
        yield Platform(host.os, "386")


def _older_variants(host: Platform) -> Iterator[str]:
    newest = _variant(host)
    lowest = {"arm64": 8, "arm": 5, "amd64": 1}.get(host.architecture)
    if lowest is None or not newest[1:].isdigit():
        yield newest
        return
    for number in range(int(newest[1:]), lowest - 1, -1):
        yield f"v{number}"
