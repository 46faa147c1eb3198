"""User namespaces: what pods, containers and mounts may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import SandboxFacts
from podwright.container.spec.userns import check_container, mount_id_maps, oci_mappings, pod_id_maps
from podwright.criapi import api_pb2 as pb
from podwright.linux.idmap import IdMaps, IdRange

MAPPING = pb.IDMapping(container_id=0, host_id=65536, length=65536)
MAPS = IdMaps((IdRange(0, 65536, 65536),), (IdRange(0, 65536, 65536),))


def options(**userns: object) -> pb.NamespaceOption:
    return pb.NamespaceOption(
        pid=pb.CONTAINER,
        userns_options=pb.UserNamespace(**{"mode": pb.POD, "uids": [MAPPING], "gids": [MAPPING], **userns}),  # type: ignore[arg-type]
    )


def sandbox(maps: IdMaps | None) -> SandboxFacts:
    namespaces = {"network": "/n"} | ({"user": "/u"} if maps else {})
    return SandboxFacts(id="s", name="p", namespace="n", uid="u", namespaces=namespaces, id_maps=maps)


def test_no_options_and_node_mean_the_hosts() -> None:
    assert pod_id_maps(pb.NamespaceOption()) is None
    assert pod_id_maps(options(mode=pb.NODE)) is None


def test_pod_means_the_mapping_given() -> None:
    assert pod_id_maps(options()) == MAPS
    (only,) = oci_mappings(MAPS.uids)
    assert (only.container_id, only.host_id, only.size) == (0, 65536, 65536)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"mode": pb.CONTAINER}, "mode"),
        ({"mode": pb.TARGET}, "mode"),
        ({"uids": []}, "uids"),
        ({"gids": [MAPPING, MAPPING]}, "gids"),
        ({"uids": [pb.IDMapping(container_id=1, host_id=1, length=1)]}, r"uids\[0\].container_id"),
        ({"gids": [pb.IDMapping(host_id=1)]}, r"gids\[0\]"),
        ({"gids": [pb.IDMapping(host_id=2**32 - 2, length=2)]}, r"gids\[0\]"),
    ],
)
def test_other_requests_are_refused_by_field(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument, match=f"namespace_options.userns_options.{field}"):
        pod_id_maps(options(**wrong))


@pytest.mark.parametrize("kind", ["pid", "ipc"])
def test_the_hosts_pids_and_ipc_go_with_the_hosts_users_only(kind: str) -> None:
    asked = options()
    setattr(asked, kind, pb.NODE)
    with pytest.raises(InvalidArgument, match=f"namespace_options.{kind}"):
        pod_id_maps(asked)


def test_a_container_names_its_pods_or_none() -> None:
    check_container(pb.NamespaceOption(), sandbox(MAPS))
    check_container(options(), sandbox(MAPS))
    check_container(options(mode=pb.NODE), sandbox(None))
    with pytest.raises(InvalidArgument, match=r"namespace_options\.pid"):
        check_container(pb.NamespaceOption(pid=pb.NODE), sandbox(MAPS))
    check_container(pb.NamespaceOption(pid=pb.NODE), sandbox(None))
    other = options(uids=[pb.IDMapping(host_id=1, length=65536)])
    for asked, pod in ((options(), None), (options(mode=pb.NODE), MAPS), (other, MAPS)):
        with pytest.raises(InvalidArgument, match="must be the pod's own"):
            check_container(asked, sandbox(pod))


def test_where_the_namespace_is_pinned() -> None:
    assert sandbox(MAPS).userns == Path("/u")
    assert sandbox(None).userns is None


def test_mounts_have_both_maps_or_none() -> None:
    assert mount_id_maps(pb.Mount(), "mounts[0]") is None
    assert mount_id_maps(pb.Mount(uidMappings=[MAPPING], gidMappings=[MAPPING]), "mounts[0]") == MAPS
    with pytest.raises(InvalidArgument, match=r"mounts\[0\]"):
        mount_id_maps(pb.Mount(uidMappings=[MAPPING]), "mounts[0]")
