"""Which devices a container may open or make: a BPF program on its cgroup. bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.

The kernel calls the program with the access wanted; it returns 1 to allow. Rules are tried from the last to the first,
as the specification's later ones win. OCI runtime specification, config-linux.md, "Allowed Device list"; instruction
encoding: kernel, bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import os
import struct

from podwright.guest.failures import INVALID, Failure
from podwright.guest.fields import Object, get
from podwright.linux.syscalls import bpf_attach_to_cgroup, bpf_load_device_program

_INSTRUCTION = struct.Struct("<BBhi")
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR
_ACCESS = {"m": 1, "r": 2, "w": 4}
# struct bpf_cgroup_dev_ctx
_ACCESS_TYPE, _MAJOR, _MINOR = 0, 4, 8
_LOAD_WORD, _MOVE, _AND, _SHIFT_RIGHT, _EXIT = 0x61, 0xB7, 0x57, 0x77, 0x95
_JUMP_IF_EQUAL, _JUMP_UNLESS_EQUAL = 0x15, 0x55
_COPY = 0xBF
_VERDICT_LENGTH = 2
# /dev/null, zero, full, random, urandom, tty, console, ptmx, and pseudoterminals: what every container has.
_ALWAYS = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))


def limit_devices(cgroup: str, rules: list[Object]) -> None:
    """Attach the program; without rules everything is allowed. Raises Failure for rules that can't be."""
    if not rules:
        return
    program = bpf_load_device_program(device_program(rules))
    try:
        directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            bpf_attach_to_cgroup(program, directory)
        finally:
            os.close(directory)
    finally:
        os.close(program)


def device_program(rules: list[Object]) -> bytes:
    """The instructions. Pure."""
    always: list[Object] = [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in _ALWAYS
    ]
    code = [
        _instruction(_LOAD_WORD, 2, 1, _ACCESS_TYPE), _instruction(_AND, 2, value=0xFFFF),  # r2: type
        _instruction(_LOAD_WORD, 3, 1, _ACCESS_TYPE), _instruction(_SHIFT_RIGHT, 3, value=16),  # r3: access
        _instruction(_LOAD_WORD, 4, 1, _MAJOR), _instruction(_LOAD_WORD, 5, 1, _MINOR),
    ]  # fmt: skip
    for rule in [*reversed(rules + always), {"allow": False}]:
        tests = _rule(rule)
        code += tests
        if len(tests) == _VERDICT_LENGTH:
            break  # it is for everything, and the kernel refuses code that can't be reached
    return b"".join(code)


def _rule(rule: Object) -> list[bytes]:
    """Jump over the verdict where something differs."""
    kind, access = get(rule, "type", str, "a"), get(rule, "access", str, "rwm")
    allow = get(rule, "allow", bool)
    if kind not in ("a", *_TYPES) or not set(access) <= set(_ACCESS):
        raise Failure(INVALID, f"spec.linux.resources.devices: {kind[:9]!r} {access[:9]!r} is no rule")
    mask = sum(_ACCESS[letter] for letter in set(access))
    tests: list[tuple[int, int, int]] = []
    if kind in _TYPES:
        tests.append((_JUMP_UNLESS_EQUAL, 2, _TYPES[kind]))
    for register, key in ((4, "major"), (5, "minor")):
        if (number := get(rule, key, int, -1)) >= 0 and kind != "a":
            tests.append((_JUMP_UNLESS_EQUAL, register, number))
    verdict = [_instruction(_MOVE, 0, value=int(allow)), _instruction(_EXIT)]
    if mask != sum(_ACCESS.values()):
        # All that is wanted must be among what the rule names; of a denial, any of it.
        outside = [_instruction(_COPY, 6, 3)]
        if allow:
            outside += [_instruction(_AND, 6, value=~mask), _instruction(_JUMP_UNLESS_EQUAL, 6, 0, len(verdict), 0)]
        else:
            outside += [_instruction(_AND, 6, value=mask), _instruction(_JUMP_IF_EQUAL, 6, 0, len(verdict), 0)]
        verdict = outside + verdict
    code = []
    for at, (opcode, register, value) in enumerate(tests):
        code.append(_instruction(opcode, register, 0, len(tests) - at - 1 + len(verdict), value))
    return code + verdict


def _instruction(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return _INSTRUCTION.pack(opcode, source << 4 | destination, offset, value)
