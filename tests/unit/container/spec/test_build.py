"""The whole specification: assembled, encoded, and free of what must not be in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from podwright.base.errors import FailedPrecondition, NotFound
from podwright.container.spec.build import Built, build_container_spec, encode
from podwright.container.spec.facts import HostFacts, ImageFacts, MountSource, RequestFacts, SandboxFacts
from podwright.criapi import api_pb2 as pb
from podwright.runtime.base import COMPILED_SECCOMP_ANNOTATION
from podwright.security.capabilities import DEFAULT_CAPABILITIES

HOST = HostFacts(capabilities=DEFAULT_CAPABILITIES | {"CAP_SYS_ADMIN"}, oom_score_adj_min=0, hostname="node")
IMAGE = ImageFacts(entrypoint=("/app",), environment=("A=1",), user="web", working_dir="/srv", stop_signal="SIGINT")
PASSWD = b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n"


def sandbox(**changes: Any) -> SandboxFacts:
    facts: dict[str, Any] = {
        "id": "s", "name": "p", "namespace": "n", "uid": "u", "hostname": "pod", "namespaces": {"network": "/ns/net"},
    }  # fmt: skip
    return SandboxFacts(**{**facts, **changes})


def build(
    config: pb.ContainerConfig | None = None, *, pod: SandboxFacts | None = None, host: HostFacts = HOST,
    image: ImageFacts = IMAGE, request: RequestFacts | None = None,
) -> Built:  # fmt: skip
    config = config or pb.ContainerConfig()
    config.linux.security_context.namespace_options.pid = pb.CONTAINER
    return build_container_spec(
        config=config, sandbox=pod or sandbox(), image=image, rootfs=Path("/run/x/rootfs"), container_id="cid",
        cgroups_path="/pods/cid", passwd=PASSWD, group=None, host=host, request=request or RequestFacts(),
    )  # fmt: skip


def as_json(built: Built) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(encode(built.spec))
    return decoded


def test_a_plain_container() -> None:
    built = build()
    spec = as_json(built)
    assert spec["ociVersion"] == "1.0.2"
    assert spec["root"] == {"path": "/run/x/rootfs"}
    process = spec["process"]
    assert (process["args"], process["cwd"]) == (["/app"], "/srv")
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000]}
    assert {"A=1", "HOME=/home/web", "HOSTNAME=pod"} <= set(process["env"])
    assert process["oomScoreAdj"] == 0
    assert "inheritable" not in process["capabilities"]
    assert spec["linux"]["cgroupsPath"] == "/pods/cid"
    assert "seccomp" not in spec["linux"]
    assert "hooks" not in spec
    assert (built.stop_signal, built.working_dir, built.missing_host_directories) == (2, "/srv", ())


def test_seccomp_of_the_default_profile_follows_the_capabilities() -> None:
    config = pb.ContainerConfig()
    config.linux.security_context.seccomp.profile_type = pb.SecurityProfile.RuntimeDefault
    plain = as_json(build(config))["linux"]["seccomp"]
    config.linux.security_context.capabilities.add_capabilities.append("SYS_ADMIN")
    admin = as_json(build(config))["linux"]["seccomp"]
    assert "mount" not in plain["syscalls"][0]["names"]
    assert "mount" in admin["syscalls"][0]["names"]


def test_a_compiled_filter_goes_into_its_annotation_and_nobody_elses() -> None:
    config = pb.ContainerConfig(annotations={COMPILED_SECCOMP_ANNOTATION: "forged"})
    assert COMPILED_SECCOMP_ANNOTATION not in as_json(build(config))["annotations"]
    config.linux.security_context.seccomp.profile_type = pb.SecurityProfile.RuntimeDefault
    spec = as_json(build(config, request=RequestFacts(seccomp_filter="AAAA")))
    assert spec["annotations"][COMPILED_SECCOMP_ANNOTATION] == "AAAA"
    assert spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"


def test_privileged() -> None:
    config = pb.ContainerConfig()
    security = config.linux.security_context
    security.privileged = True
    security.masked_paths.append("/proc/kcore")
    security.seccomp.profile_type = pb.SecurityProfile.RuntimeDefault
    spec = as_json(build(config, pod=sandbox(privileged=True)))
    assert set(spec["process"]["capabilities"]["bounding"]) == HOST.capabilities
    assert {"seccomp", "maskedPaths"}.isdisjoint(spec["linux"])
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    with pytest.raises(FailedPrecondition):
        build(config)


def test_oom_score_adj_is_clamped() -> None:
    config = pb.ContainerConfig()
    config.linux.resources.oom_score_adj = -998
    assert build(config).spec.process.oom_score_adj == 0
    config.linux.resources.oom_score_adj = 998
    assert build(config).spec.process.oom_score_adj == 998


def test_a_read_only_rootfs_and_no_new_privileges() -> None:
    config = pb.ContainerConfig(tty=True)
    config.linux.security_context.readonly_rootfs = True
    config.linux.security_context.no_new_privs = True
    spec = as_json(build(config))
    assert spec["root"]["readonly"] is True
    assert spec["process"]["noNewPrivileges"] is True
    assert spec["process"]["terminal"] is True


def test_hostname_variable_on_the_hosts_network() -> None:
    assert "HOSTNAME=node" in build(pod=sandbox(hostname="", namespaces={})).spec.process.env


def test_missing_host_paths_are_reported_once() -> None:
    config = pb.ContainerConfig(mounts=[pb.Mount(container_path=path, host_path="/gone") for path in ("/a", "/b")])
    sources = {path: MountSource(Path("/gone"), exists=False) for path in ("/a", "/b")}
    assert build(config, request=RequestFacts(sources=sources)).missing_host_directories == (Path("/gone"),)


def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(NotFound, match="nobody-here"):
        build(image=ImageFacts(entrypoint=("/app",), user="nobody-here"))


def test_the_same_in_the_same_out() -> None:
    assert encode(build().spec) == encode(build().spec)
