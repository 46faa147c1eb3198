"""What a runtime can do: `<runtime> features` where there is that verb, else what its version is known to do.

https://github.com/opencontainers/runtime-spec/blob/main/features.md; runc has the verb since 1.1, crun since 1.9.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import msgspec

from podwright.linux.process import run
from podwright.runtime.base import Features

# Of Linux 5.8 and 5.9; gVisor has no use for them, and Debian 12's version does not know them.
_NOT_OF_GVISOR = frozenset({"CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"})
_CHECKPOINT_ANNOTATIONS = ("org.opencontainers.runc.checkpoint.enabled", "run.oci.crun.checkpoint.enabled")


class _Seccomp(msgspec.Struct):
    enabled: bool | None = None


class _Idmap(msgspec.Struct):
    enabled: bool | None = None


class _MountExtensions(msgspec.Struct):
    idmap: _Idmap | None = None


class _Linux(msgspec.Struct, rename="camel"):
    namespaces: list[str] = []
    seccomp: _Seccomp | None = None
    mount_extensions: _MountExtensions | None = None


class _Document(msgspec.Struct, rename="camel"):
    """The members of a features document that matter here."""

    mount_options: list[str] = []
    linux: _Linux | None = None
    annotations: dict[str, str] = {}


async def read_features(program: Path, *, timeout_s: float) -> Features:
    """Ask the program twice: for its version and for its features. A program that knows neither has none."""
    version = await run([program, "--version"], timeout_s=timeout_s, check=False)
    said = version.stdout.decode(errors="replace")
    name, number = parse_version(said, program.name)
    document = await run([program, "features"], timeout_s=timeout_s, check=False)
    features = from_version(name, number, built_with=frozenset(said.split()))
    if document.returncode == 0:
        try:
            features = from_document(name, number, msgspec.json.decode(document.stdout, type=_Document))
        except msgspec.MsgspecError:
            pass
    return on_kernel(features, os.uname().release)


def on_kernel(features: Features, release: str) -> Features:
    """What of it this kernel can: recursive options of mounts need mount_setattr(2), of Linux 5.12."""
    if numbers(release) >= (5, 12):
        return features
    return replace(features, mount_options=features.mount_options - {"rro"})


def parse_version(text: str, fallback: str) -> tuple[str, str]:
    """Name and version number from what `--version` prints first: `crun version 1.8.1`, `runsc version release-1`."""
    words = text.split()
    if len(words) >= 3 and words[1] == "version":
        return words[0], words[2]
    return fallback, ""


def from_document(name: str, version: str, document: _Document) -> Features:
    """A features document, with what no document tells added from the version."""
    linux = document.linux or _Linux()
    extensions = linux.mount_extensions or _MountExtensions()
    return Features(
        name=name,
        version=version,
        mount_options=frozenset(document.mount_options),
        seccomp=linux.seccomp is None or linux.seccomp.enabled is not False,
        user_namespaces="user" in linux.namespaces,
        idmapped_mounts=extensions.idmap is not None and extensions.idmap.enabled is True,
        compiled_seccomp=_takes_compiled_seccomp(name, version),
        checkpoint=any(document.annotations.get(key) == "true" for key in _CHECKPOINT_ANNOTATIONS),
    )


def from_version(name: str, version: str, *, built_with: frozenset[str] = frozenset()) -> Features:
    """crun before 1.9 has no `features`, but recursive read-only mounts since 1.4 and idmapped ones since 1.4.3.

    `built_with`: the words that `crun --version` prints, +CRIU among them.
    """
    crun = name == "crun"
    return Features(
        name=name,
        version=version,
        mount_options=frozenset({"rro"}) if crun and numbers(version) >= (1, 4) else frozenset(),
        user_namespaces=crun,
        idmapped_mounts=crun and numbers(version) >= (1, 4, 3),
        compiled_seccomp=_takes_compiled_seccomp(name, version),
        checkpoint="+CRIU" in built_with,
        unknown_capabilities=_NOT_OF_GVISOR if name == "runsc" else frozenset(),
        hidden_paths=name != "runsc",
    )


def _takes_compiled_seccomp(name: str, version: str) -> bool:
    """crun reads a compiled filter from the annotation run.oci.seccomp_bpf_data; crun(1), since 0.20."""
    return name == "crun" and numbers(version) >= (0, 20)


def numbers(version: str) -> tuple[int, ...]:
    """1.8.1 → (1, 8, 1); what follows a number is ignored."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
