"""What people type, and what it means."""

import pytest

from podwright.base.errors import InvalidArgument, NotFound
from podwright.cli.lookup import match_container, match_pod, only_container
from podwright.criapi import api_pb2 as pb

RUNNING, EXITED = pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED


def pod(pod_id: str, name: str, namespace: str = "default", attempt: int = 0) -> pb.PodSandbox:
    metadata = pb.PodSandboxMetadata(name=name, namespace=namespace, attempt=attempt)
    return pb.PodSandbox(id=pod_id, metadata=metadata)


def container(
    container_id: str, name: str, pod_id: str = "p1", state: pb.ContainerState.ValueType = RUNNING, attempt: int = 0
) -> pb.Container:
    metadata = pb.ContainerMetadata(name=name, attempt=attempt)
    return pb.Container(id=container_id, metadata=metadata, pod_sandbox_id=pod_id, state=state)


PODS = [pod("abc1", "hello", attempt=1), pod("abc2", "hello", attempt=0), pod("def3", "hello", "kube"), pod("d", "x")]


def test_pods() -> None:
    def meant(text: str) -> str | None:
        found = match_pod(PODS, text)
        return found.id if found else None

    assert meant("abc2") == "abc2", "a whole id"
    assert meant("de") == "def3", "a unique prefix"
    assert meant("d") == "d", "a whole id though others begin so"
    assert meant("x") == "d", "a name"
    assert meant("default/hello") == "abc1", "the newest attempt"
    assert meant("nope") is None
    assert meant("") is None
    with pytest.raises(InvalidArgument, match=r"'hello' could mean any of abc1 \(default/hello\), def3 \(kube/hello\)"):
        meant("hello")
    with pytest.raises(InvalidArgument, match="'ab' could mean"):
        meant("ab")


def test_containers() -> None:
    pods = [pod("p1", "one"), pod("p2", "two")]
    containers = [
        container("c3", "web", "p1", RUNNING, attempt=1),
        container("c2", "web", "p1", EXITED),
        container("c1", "web", "p2", EXITED),
        container("c0", "db", "p2", EXITED),
    ]

    def meant(text: str) -> str | None:
        found = match_container(containers, pods, text)
        return found.id if found else None

    assert meant("web") == "c3", "the only one that runs"
    assert meant("two/web") == "c1"
    assert meant("db") == "c0"
    assert meant("c2") == "c2"
    assert meant("one") is None
    with pytest.raises(InvalidArgument, match="'c' could mean"):
        meant("c")
    containers[2].state = RUNNING
    with pytest.raises(InvalidArgument, match=r"'web' could mean any of c3 \(one/web\), c1 \(two/web\)"):
        meant("web")


def test_many_choices_are_cut() -> None:
    with pytest.raises(InvalidArgument, match=r", …$"):
        match_pod([pod(f"a{n}", f"p{n}") for n in range(20)], "a")


def test_a_pods_only_container() -> None:
    one = pod("p1", "one")
    init, web, side = container("c1", "init", state=EXITED), container("c2", "web"), container("c3", "side")
    assert only_container([web, init], one) is web
    assert only_container([init], one) is init
    with pytest.raises(InvalidArgument, match="has several containers; name one of one/web, one/side"):
        only_container([web, side], one)
    with pytest.raises(NotFound, match="pod one has no containers"):
        only_container([], one)
