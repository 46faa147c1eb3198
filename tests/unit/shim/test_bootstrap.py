"""What shims of all ages answer to `start`, and what is given to them."""

from __future__ import annotations

import json

import pytest
from google.protobuf.any_pb2 import Any

from podwright.base.errors import Unimplemented
from podwright.runtime.base import RuntimeFailed
from podwright.shim import bootstrap
from podwright.shim import shim_pb2 as pb
from podwright.shim.bootstrap import Endpoint
from podwright.shim.names import pack_options

JSON = {"version": 3, "address": "unix:///run/s/1", "protocol": "ttrpc"}


@pytest.mark.parametrize(
    ("answer", "endpoint"),
    [
        (b"unix:///run/s/1", Endpoint("/run/s/1", 2)),
        (b"unix:///run/s/1\n", Endpoint("/run/s/1", 2)),
        (json.dumps(JSON).encode(), Endpoint("/run/s/1", 3)),
        (json.dumps({**JSON, "more": {}}).encode() + b"\n", Endpoint("/run/s/1", 3)),
        (
            pb.BootstrapResult(version=3, address="unix:///run/s/1", protocol="ttrpc").SerializeToString(),
            Endpoint("/run/s/1", 3),
        ),
    ],
)
def test_answers_of_all_ages(answer: bytes, endpoint: Endpoint) -> None:
    assert bootstrap.parse_endpoint(answer, "c") == endpoint


@pytest.mark.parametrize("change", [{"protocol": "grpc"}, {"version": 4}])
def test_what_is_not_spoken_here(change: dict[str, object]) -> None:
    with pytest.raises(Unimplemented, match=r"ttrpc, versions 2 and 3"):
        bootstrap.parse_endpoint(json.dumps(JSON | change).encode(), "c")


@pytest.mark.parametrize(
    "answer", [b"", b"level=error", b"unix://", b"vsock://2:1", b"{}", b"\x08", b"\xff", b"unix:///\0"]
)
def test_no_address(answer: bytes) -> None:
    with pytest.raises((RuntimeFailed, Unimplemented)):
        bootstrap.parse_endpoint(answer, "c")


def test_options_of_both_ages() -> None:
    options = pb.GenericOptions(type_url="io.containerd.kata.v2.options", config_path="/etc/kata.toml")
    packed = pack_options(options)
    old = Any.FromString(packed)
    new = pb.BootstrapParams.FromString(bootstrap.parameters("c", "/events", packed))
    assert (old.type_url, old.value) == ("runtimeoptions.v1.Options", options.SerializeToString())
    assert (new.instance_id, new.namespace, new.containerd_ttrpc_address) == ("c", "k8s.io", "/events")
    assert [extension.value for extension in new.extensions] == [old]
    assert not pb.BootstrapParams.FromString(bootstrap.parameters("c", "/events", b"")).extensions


def test_who_wants_the_newer_kind_says_so() -> None:
    assert bootstrap.wants_parameters(
        "shim was started through the deprecated API but was built against the new API; if you upgraded containerd, …"
    )
    assert not bootstrap.wants_parameters("open config.json: no such file or directory")
