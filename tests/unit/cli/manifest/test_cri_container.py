"""ContainerConfig: commands, environment, mounts."""

from typing import Any

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.cri_container import container_config
from podwright.cli.manifest.environment import environment
from podwright.criapi import api_pb2 as pb
from tests.unit.cli.manifest.pods import HOST, instance, pod

IMAGE = pb.Image(id="sha256:1")


def config(fields: dict[str, Any], spec: dict[str, Any] | None = None) -> pb.ContainerConfig:
    made = pod(spec, fields)
    there = instance(made)
    variables = environment(made, made.containers[0], {"m": {"raw": b"\xff"}}, HOST, there)
    return container_config(made, made.containers[0], variables, IMAGE, HOST, there)


def test_the_whole() -> None:
    made = config(
        {
            "command": ["/bin/$(A)", "$$(A)"], "args": ["$(NOPE)", "$(A)"], "workingDir": "/w",
            "tty": True, "stdin": True, "env": [{"name": "A", "value": "sh"}],
            "envFrom": [{"configMapRef": {"name": "m"}}],
        }
    )  # fmt: skip
    assert made.metadata == pb.ContainerMetadata(name="web")
    assert made.image == pb.ImageSpec(image="sha256:1", user_specified_image="busybox:1.36")
    assert (list(made.command), list(made.args)) == (["/bin/sh", "$(A)"], ["$(NOPE)", "sh"])
    assert [(env.key, env.value) for env in made.envs] == [("raw", b"\xff"), ("A", b"sh")]
    assert (made.working_dir, made.tty, made.stdin, made.stdin_once) == ("/w", True, True, False)
    assert made.log_path == "web/0.log"
    assert made.labels["io.kubernetes.container.name"] == "web"
    assert made.linux.resources.cpu_shares == 2
    assert made.linux.security_context.HasField("run_as_user")


def test_mounts() -> None:
    spec = {"volumes": [{"name": "a"}, {"name": "b"}]}
    mounts = config(
        {
            "env": [{"name": "A", "value": "x"}],
            "volumeMounts": [
                {"name": "a", "mountPath": "/a", "readOnly": True, "recursiveReadOnly": "Enabled"},
                {"name": "b", "mountPath": "/b", "subPathExpr": "d/$(A)", "mountPropagation": "Bidirectional"},
                {"name": "b", "mountPath": "/c", "subPath": "./e/", "mountPropagation": "HostToContainer"},
            ],
        },
        spec,
    ).mounts
    assert list(mounts) == [
        pb.Mount(container_path="/a", host_path="/state/volumes/a", readonly=True, recursive_read_only=True),
        pb.Mount(container_path="/b", host_path="/state/volumes/b/d/x", propagation=pb.PROPAGATION_BIDIRECTIONAL),
        pb.Mount(container_path="/c", host_path="/state/volumes/b/e", propagation=pb.PROPAGATION_HOST_TO_CONTAINER),
        pb.Mount(container_path="/etc/hosts", host_path="/state/hosts"),
        pb.Mount(container_path="/dev/termination-log", host_path="/state/termination/web"),
    ]


def test_a_volume_may_take_the_place_of_our_own_mounts() -> None:
    mounts = config(
        {
            "volumeMounts": [{"name": "a", "mountPath": "/etc/hosts/"}, {"name": "a", "mountPath": "/bye"}],
            "terminationMessagePath": "/bye",
        },
        {"volumes": [{"name": "a"}]},
    ).mounts
    assert len(mounts) == 2


def test_an_expression_must_not_lead_out_of_the_volume() -> None:
    fields = {
        "env": [{"name": "A", "value": "../../etc"}],
        "volumeMounts": [{"name": "a", "mountPath": "/a", "subPathExpr": "$(A)"}],
    }
    with pytest.raises(InvalidArgument, match=r"volumeMounts\[0\].subPathExpr: '../../etc' leads out of the volume"):
        config(fields, {"volumes": [{"name": "a"}]})
