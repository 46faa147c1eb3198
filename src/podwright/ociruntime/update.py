"""`update`: change limits, from a file in the form of linux.resources or from options. runc-update(8)."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.oci.runtime_spec import Cpu, LinuxResources, Memory, Pids
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.status import require


def run(call: Call, program: Program, arguments: Arguments) -> int:
    resources = _read(arguments.value("resources")) if arguments.value("resources") else _from_options(arguments)
    with call.containers.locked(arguments.words[0]) as container:
        require(container, program, "update", "created", "running", "paused")
        program.update(container, resources)
    return 0


def _read(path: str) -> LinuxResources:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return msgspec.json.decode(data, type=LinuxResources)
    except OSError as error:
        raise InvalidArgument(f"{path} can't be read: {error.strerror}", field="--resources") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} describes no resources: {error}", field="--resources") from error


def _from_options(arguments: Arguments) -> LinuxResources:
    memory = Memory(
        limit=arguments.number("memory"), reservation=arguments.number("memory-reservation"),
        swap=arguments.number("memory-swap"),
    )  # fmt: skip
    cpu = Cpu(
        shares=arguments.number("cpu-share"), quota=arguments.number("cpu-quota"),
        period=arguments.number("cpu-period"), cpus=arguments.value("cpuset-cpus"), mems=arguments.value("cpuset-mems"),
    )  # fmt: skip
    pids = arguments.number("pids-limit")
    return LinuxResources(
        memory=None if memory == Memory() else memory, cpu=None if cpu == Cpu() else cpu,
        pids=None if pids is None else Pids(limit=pids),
    )  # fmt: skip
