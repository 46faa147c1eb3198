"""The default profile's content, and profiles from files in both forms, hostile ones included."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.errors import InvalidArgument, NotFound, PodwrightError
from podwright.security import seccomp
from podwright.security.capabilities import DEFAULT_CAPABILITIES
from podwright.security.seccomp import default_profile, load_profile, parse_profile


def decoded(raw: msgspec.Raw) -> dict[str, Any]:
    profile: dict[str, Any] = json.loads(bytes(raw))
    return profile


def allowed(profile: dict[str, Any]) -> set[str]:
    """Names that are allowed whatever their arguments."""
    rules = [r for r in profile["syscalls"] if r["action"] == "SCMP_ACT_ALLOW" and not r.get("args")]
    return {name for rule in rules for name in rule["names"]}


def test_what_everybody_may_and_may_not() -> None:
    names = allowed(decoded(default_profile(DEFAULT_CAPABILITIES)))
    assert {"read", "execve", "futex", "openat2", "chroot", "clone", "ptrace"} - names == {"clone"}
    forbidden = {
        "mount", "unshare", "setns", "bpf", "init_module", "kexec_load", "reboot", "keyctl", "add_key",
        "io_uring_setup", "userfaultfd", "perf_event_open", "pivot_root", "swapon", "clock_settime",
    }  # fmt: skip
    assert names & forbidden == set()


@pytest.mark.parametrize(
    ("capability", "name"),
    [("CAP_SYS_ADMIN", "mount"), ("CAP_SYS_TIME", "clock_settime"), ("CAP_SYS_MODULE", "init_module"),
     ("CAP_BPF", "bpf"), ("CAP_SYS_BOOT", "reboot"), ("CAP_SYSLOG", "syslog"), ("CAP_SYS_RAWIO", "iopl"),
     ("CAP_DAC_READ_SEARCH", "open_by_handle_at"), ("CAP_SYS_NICE", "mbind")],
)  # fmt: skip
def test_capabilities_allow_what_hangs_on_them(capability: str, name: str) -> None:
    assert name not in allowed(decoded(default_profile([])))
    assert name in allowed(decoded(default_profile([capability])))


def test_new_namespaces_need_sys_admin() -> None:
    rules = {rule["names"][0]: rule for rule in decoded(default_profile([]))["syscalls"][1:]}
    assert rules["clone3"]["errnoRet"] == 38
    assert rules["clone"]["args"][0]["op"] == "SCMP_CMP_MASKED_EQ"
    assert {"clone", "clone3"} <= allowed(decoded(default_profile(["CAP_SYS_ADMIN"])))


def test_vsock_and_personality_are_limited_by_argument() -> None:
    rules = decoded(default_profile([]))["syscalls"]
    assert [r["args"] for r in rules if r["names"] == ["socket"]] == [[{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]]
    assert len([r for r in rules if r["names"] == ["personality"]]) == 5


def test_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, count in (("x86_64", 3), ("aarch64", 2), ("riscv64", 1)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert len(decoded(default_profile([]))["architectures"]) == count
        assert len(decoded(default_profile([], all_abis=False))["architectures"]) == 1
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    clone = next(r for r in decoded(default_profile([]))["syscalls"] if r["names"] == ["clone"])
    assert clone["args"][0]["index"] == 1
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    assert "read" in allowed(decoded(default_profile([])))


def test_it_is_built_once() -> None:
    assert default_profile(["CAP_CHOWN", "CAP_KILL"]) is default_profile({"CAP_KILL", "CAP_CHOWN"})


def parse(document: object, capabilities: frozenset[str] = frozenset()) -> dict[str, Any]:
    return decoded(parse_profile(json.dumps(document).encode(), "p.json", capabilities))


def test_oci_form_passes() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                      "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}],
    }  # fmt: skip
    assert parse(document) == document


def test_dockers_form_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-x")
    allow = {"action": "SCMP_ACT_ALLOW"}
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
        "syscalls": [
            {"name": "old", **allow},
            {"names": ["cap"], "includes": {"caps": ["CAP_CHOWN"]}, **allow},
            {"names": ["nocap"], "excludes": {"caps": ["CAP_CHOWN"]}, **allow},
            {"names": ["amd"], "includes": {"arches": ["amd64"]}, **allow},
            {"names": ["arm"], "includes": {"arches": ["arm64"]}, **allow},
            {"names": ["new"], "includes": {"minKernel": "4.8"}, **allow},
            {"names": ["newer"], "includes": {"minKernel": "7.0"}, **allow},
        ],
    }
    found = parse(document)
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert allowed(found) == {"old", "nocap", "amd", "new"}
    assert allowed(parse(document, frozenset({"CAP_CHOWN"}))) == {"old", "cap", "amd", "new"}
    assert not any("includes" in rule or "excludes" in rule for rule in found["syscalls"])


@pytest.mark.parametrize(
    "document",
    [
        [], {}, {"defaultAction": 3}, {"defaultAction": "ALLOW"}, {"defaultAction": "SCMP_ACT_NOTIFY"},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "nope"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"]}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x.sock"},
    ],
)  # fmt: skip
def test_bad_profiles(document: object) -> None:
    with pytest.raises(InvalidArgument, match=r"p\.json"):
        parse(document)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="absolute"):
        load_profile("p.json", [])
    with pytest.raises(NotFound, match="No such file"):
        load_profile(str(tmp_path / "p.json"), [])
    with pytest.raises(NotFound):
        load_profile(str(tmp_path), [])
    big = tmp_path / "big.json"
    big.write_bytes(b" " * (seccomp.PROFILE_LIMIT_BYTES + 1))
    with pytest.raises(InvalidArgument, match="more than"):
        load_profile(str(big), [])


@given(st.binary(max_size=200))
def test_garbage_is_a_clean_error(data: bytes) -> None:
    try:
        parse_profile(data, "p", frozenset())
    except PodwrightError:
        pass
