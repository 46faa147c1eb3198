"""Profiles compiled ahead: the BPF program that a runtime would make of a profile, made once and kept.

Compiling the default profile is most of what it takes to create a container (14 of 20 ms with crun), and the result
is the same every time. Only runtimes that take a ready-made program can use it; see `runtime/base.py`.
"""

from __future__ import annotations

import base64
from functools import lru_cache

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.base.log import get_logger
from podwright.linux import libseccomp
from podwright.security.seccomp import Profile, Rule

log = get_logger(__name__)

_DEFAULT_ERRNO = 1
_WITH_DATA = ("ERRNO", "TRACE")


def compiled(profile: msgspec.Raw) -> str:
    """The program of an encoded profile in OCI form, in base64; '' where libseccomp is missing.

    Raises InvalidArgument for a profile that libseccomp refuses. Takes 10 ms the first time: call it in a thread.
    """
    return _compiled(bytes(profile)) if libseccomp.available() else ""


@lru_cache(maxsize=64)
def _compiled(encoded: bytes) -> str:
    profile = msgspec.json.decode(encoded, type=Profile)
    default = _action(profile.default_action, profile.default_errno_ret)
    architectures = [name.removeprefix("SCMP_ARCH_").lower() for name in profile.architectures or []]
    rules = [made for rule in profile.syscalls or [] for made in _rules(rule)]
    try:
        program = libseccomp.compile_filter(default, architectures, rules)
    except OSError as error:
        raise InvalidArgument(f"seccomp profile can't be compiled: {error}") from error
    return base64.b64encode(program).decode()


def _action(name: str, errno_ret: int | None) -> int:
    word = name.removeprefix("SCMP_ACT_")
    data = (_DEFAULT_ERRNO if errno_ret is None else errno_ret) if word in _WITH_DATA else 0
    return libseccomp.ACTIONS[word] | (data & 0xFFFF)


def _rules(rule: Rule) -> list[libseccomp.Rule]:
    """A rule for each name. Comparisons of one argument with several values are alternatives, each a rule."""
    action = _action(rule.action, rule.errno_ret)
    comparisons = tuple(_comparison(argument) for argument in rule.args or ())
    indexes = [comparison.index for comparison in comparisons]
    alternatives = [comparisons] if len(set(indexes)) == len(indexes) else [(c,) for c in comparisons]
    return [libseccomp.Rule(action, name, alternative) for name in rule.names or () for alternative in alternatives]


def _comparison(argument: dict[str, object]) -> libseccomp.Comparison:
    try:
        return libseccomp.Comparison(
            int(str(argument["index"])), libseccomp.OPERATORS[str(argument["op"]).removeprefix("SCMP_CMP_")],
            int(str(argument["value"])), int(str(argument.get("valueTwo", 0))),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise InvalidArgument(f"seccomp profile has a bad argument {argument!r}") from error
