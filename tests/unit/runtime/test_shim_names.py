"""What containerd's shims are called."""

from __future__ import annotations

import pytest

from podwright.runtime import shim_names


@pytest.mark.parametrize(
    ("word", "program"),
    [
        ("io.containerd.runc.v2", "containerd-shim-runc-v2"),
        ("io.containerd.kata.v2", "containerd-shim-kata-v2"),
        ("com.example.kata.qemu.v2", "containerd-shim-qemu-v2"),
        ("containerd-shim-runc-v2", "containerd-shim-runc-v2"),
        ("/opt/io.bin/containerd-shim-runc-v2", "/opt/io.bin/containerd-shim-runc-v2"),
    ],
)
def test_the_program_of_a_word(word: str, program: str) -> None:
    assert shim_names.program_of(word) == program


def test_the_type_of_a_program() -> None:
    assert shim_names.type_of("/opt/bin/containerd-shim-kata-v2") == "io.containerd.kata.v2"


def test_which_words_go_for_a_shim() -> None:
    words = ("io.containerd.kata.v2", "containerd-shim-x-v1", "/opt/containerd-shim-x-v1", "runc", "/usr/bin/kata.v2")
    assert [shim_names.is_shim(word) for word in words] == [True, True, True, False, False]


def test_who_calls_an_oci_runtime() -> None:
    words = (
        "io.containerd.runc.v2",
        "/opt/containerd-shim-runc-v2",
        "io.containerd.runsc.v1",
        "containerd-shim-runcat",
    )
    assert [shim_names.calls_oci_runtime(word) for word in words] == [True, True, False, False]
