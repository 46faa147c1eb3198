"""CheckpointContainer, CheckpointPod and RestorePod, with all that is around the runtime's verb being real.

The verb itself is ours here (tests/support/checkpoints.py); with a real CRIU it is seen in tests/machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import tars
from tests.support.checkpoints import criu_daemon, place, runtime_status, under_way
from tests.support.daemon import Daemon, container_config, pod_config, serving
from tests.support.images import refusal

pytestmark = pytest.mark.root

WRITES = "echo new > /etc/new; rm -rf /etc/passwd; ln -s /new /link; echo said; exec sleep 1000"
LOOP = ("sh", "-c", WRITES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("c")
    with serving(criu_daemon(directory, deed=". $here/deed")) as daemon:
        daemon.remove_pod(daemon.run_pod("first"))  # makes the bridge, which stays
        yield daemon


@pytest.fixture
def daemon(server: Daemon) -> Iterator[Daemon]:
    (place(server) / "deed").write_text("")
    (place(server) / "states").unlink(missing_ok=True)
    yield server
    assert under_way(server) == []
    server.clear_pods()


@pytest.fixture
def container(daemon: Daemon) -> str:
    running = daemon.run_container(daemon.run_pod("pod", host_network=True), *LOOP)
    daemon.wait_log(running, "said")
    return running


def deed(daemon: Daemon, text: str) -> None:
    """What `checkpoint` ends with."""
    (place(daemon) / "deed").write_text(text)


def checkpoint(daemon: Daemon, container: str, location: Path | str, timeout: int = 0) -> None:
    daemon.runtime.CheckpointContainer(
        pb.CheckpointContainerRequest(container_id=container, location=str(location), timeout=timeout), timeout=60
    )


def checkpoint_pod(daemon: Daemon, pod: str, output: Path | str, *containers: str, timeout: float = 60) -> None:
    daemon.runtime.CheckpointPod(
        pb.CheckpointPodRequest(pod_sandbox_id=pod, output_path=str(output), container_ids=containers), timeout=timeout
    )


def in_background(call: Callable[[], None]) -> threading.Thread:
    def work() -> None:
        try:
            call()
        except grpc.RpcError:
            return

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_archive(daemon: Daemon, container: str, tmp_path: Path) -> None:
    """Its names, its content, its mode; frozen while it is dumped, running afterwards."""
    location = tmp_path / "c.tar"
    checkpoint(daemon, container, location)
    assert stat.S_IMODE(location.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [location]
    assert (place(daemon) / "states").read_text().split() == ["paused"]
    assert runtime_status(daemon, container) == "running"
    assert daemon.exec(container, "sh", "-c", "exit 0").exit_code == 0
    with tarfile.open(location) as archive:
        names = archive.getnames()
        assert names[:4] == ["config.dump", "spec.dump", "checkpoint", "checkpoint/pages-1.img"]
        assert names[4:] == ["dump.log", "stats-dump", "rootfs-diff.tar", "container.log"]
        facts = json.loads(read(archive, "config.dump"))
        assert (facts["id"], facts["name"], facts["runtime"]) == (container, "main", "runc")
        assert facts["rootfsImageRef"] == daemon.status(container).image_ref
        assert json.loads(read(archive, "spec.dump"))["process"]["args"] == list(LOOP)
        assert read(archive, "checkpoint/pages-1.img").decode() == f"pages of {container}\n"
        assert b"said" in read(archive, "container.log")
        with tarfile.open(fileobj=io.BytesIO(read(archive, "rootfs-diff.tar"))) as difference:
            assert read(difference, "etc/new") == b"new\n"
            assert difference.getmember("etc/.wh.passwd").size == 0
            assert difference.getmember("link").linkname == "/new"


def read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def test_existing_file_is_replaced(daemon: Daemon, container: str, tmp_path: Path) -> None:
    """Whole, unlike with those who write over it; and what a symlink points at is not touched."""
    target, location = tmp_path / "target", tmp_path / "c.tar"
    target.write_bytes(b"precious")
    location.symlink_to(target)
    checkpoint(daemon, container, location)
    assert not location.is_symlink()
    assert target.read_bytes() == b"precious"
    location.write_bytes(bytes(10_000_000))
    checkpoint(daemon, container, location)
    assert location.stat().st_size < 1_000_000


@pytest.mark.parametrize("location", ["relative", "/nowhere/c.tar", "/tmp", "/tmp/"])
def test_bad_location(daemon: Daemon, container: str, location: str) -> None:
    code, words = refusal(lambda: checkpoint(daemon, container, location))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "location" in words


def test_bad_timeout_and_missing_location(daemon: Daemon, container: str, tmp_path: Path) -> None:
    for call in (
        lambda: checkpoint(daemon, container, tmp_path / "c", timeout=-1),
        lambda: checkpoint(daemon, container, ""),
    ):
        assert refusal(call)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_only_running_ones(daemon: Daemon, container: str, tmp_path: Path) -> None:
    daemon.stop_container(container)
    code, words = refusal(lambda: checkpoint(daemon, container, tmp_path / "c"))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "does not run" in words


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("echo broken >&2; exit 1", grpc.StatusCode.INTERNAL, "pages are stuck"),
        ("echo No space left on device >&2; exit 1", grpc.StatusCode.RESOURCE_EXHAUSTED, "No space left"),
        ("exec sleep 1000", grpc.StatusCode.DEADLINE_EXCEEDED, "stage reached: dump main"),
        (
            'kill -9 $(cat "$root/../../containers/$id/pidfile"); exit 1',
            grpc.StatusCode.INTERNAL,
            "the pages are stuck",
        ),
    ],
)
def test_failing_dump(
    daemon: Daemon, container: str, tmp_path: Path, how: str, code: grpc.StatusCode, says: str
) -> None:
    """A clear error, nothing left, and a container that runs on (unless it has died)."""
    deed(daemon, how)
    found, words = refusal(lambda: checkpoint(daemon, container, tmp_path / "c", timeout=1))
    assert (found, says in words) == (code, True), words
    assert list(tmp_path.iterdir()) == []
    if "kill" in how:
        assert daemon.wait_exit(container).exit_code == 137
    else:
        assert runtime_status(daemon, container) == "running"


def test_runtime_that_does_not_thaw(daemon: Daemon, container: str, tmp_path: Path) -> None:
    (place(daemon) / "stuck").touch()
    try:
        checkpoint(daemon, container, tmp_path / "c")
    finally:
        (place(daemon) / "stuck").unlink()
    daemon.wait_until(lambda: runtime_status(daemon, container) == "running")


def test_caller_goes_away(daemon: Daemon, container: str, tmp_path: Path) -> None:
    deed(daemon, "exec sleep 1000")
    pod = daemon.status(container)
    assert pod.id == container
    sandbox = daemon.pods()[0].id
    code, _ = refusal(lambda: checkpoint_pod(daemon, sandbox, tmp_path, container, timeout=0.5))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    daemon.wait_until(lambda: under_way(daemon) == [])
    assert runtime_status(daemon, container) == "running"
    assert list(tmp_path.iterdir()) == []


def test_stop_while_frozen(daemon: Daemon, container: str, tmp_path: Path) -> None:
    (place(daemon) / "gate").touch()
    thread = in_background(lambda: checkpoint(daemon, container, tmp_path / "c"))
    daemon.wait_until(lambda: (place(daemon) / "states").exists())
    daemon.stop_container(container)
    (place(daemon) / "gate").unlink()
    thread.join()
    assert daemon.status(container).state == pb.CONTAINER_EXITED


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_daemon_ends_meanwhile(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, end: str) -> None:
    """No frozen pod, no half file, no CRIU that goes on."""
    with serving(criu_daemon(tmp_path_factory.mktemp("e"))) as daemon:
        end_meanwhile(daemon, tmp_path, end)


def end_meanwhile(daemon: Daemon, tmp_path: Path, end: str) -> None:
    sandbox = daemon.run_pod("pod", host_network=True)
    container = daemon.run_container(sandbox, *LOOP)
    (place(daemon) / "gate").touch()
    thread = in_background(lambda: checkpoint_pod(daemon, sandbox, tmp_path, container))
    daemon.wait_until(lambda: (place(daemon) / "states").exists())
    assert runtime_status(daemon, container) == "paused"
    getattr(daemon, end)()
    thread.join()
    if end == "stop":
        assert runtime_status(daemon, container) == "running"
    daemon.start()
    assert runtime_status(daemon, container) == "running"
    assert list(tmp_path.iterdir()) == []
    (place(daemon) / "gate").unlink()
    checkpoint_pod(daemon, sandbox, tmp_path, container)
    assert (tmp_path / "checkpoint.json").exists()


def test_pod(daemon: Daemon, tmp_path: Path) -> None:
    """All are frozen before any is dumped, and every archive is what the manifest says."""
    pod = daemon.run_pod("two", host_network=True)
    ids = [daemon.run_container(pod, "sleep", "1000", name=name) for name in ("a/b", "c")]
    ended = daemon.run_container(pod, "sh", "-c", "exit 0", name="ended")
    daemon.wait_exit(ended)
    checkpoint_pod(daemon, pod, tmp_path, *ids)
    lines = (place(daemon) / "states").read_text().splitlines()
    assert [line.split() for line in lines] == [["paused", "paused"]] * 2
    assert [runtime_status(daemon, one) for one in ids] == ["running", "running"]
    manifest = json.loads((tmp_path / "checkpoint.json").read_text())
    assert [entry["name"] for entry in manifest["containers"]] == ["a/b", "c"]
    for entry, one in zip(manifest["containers"], ids, strict=True):
        data = (tmp_path / entry["file"]).read_bytes()
        assert entry["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
        assert entry["size"] == len(data)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert json.loads(read(archive, "config.dump"))["id"] == one
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_two_into_one_directory(daemon: Daemon, tmp_path: Path) -> None:
    """The second waits, finds it full, and leaves the first one's files alone."""
    pods = [daemon.run_pod(name, host_network=True) for name in ("one", "two")]
    ids = [daemon.run_container(pod, "sleep", "1000") for pod in pods]
    (place(daemon) / "gate").touch()
    first = in_background(lambda: checkpoint_pod(daemon, pods[0], tmp_path, ids[0]))
    daemon.wait_until(lambda: (place(daemon) / "states").exists())
    second = in_background(lambda: checkpoint_pod(daemon, pods[1], tmp_path, ids[1]))
    (place(daemon) / "gate").unlink()
    for thread in (first, second):
        thread.join()
    assert json.loads((tmp_path / "checkpoint.json").read_text())["pod_name"] == "one"
    with tarfile.open(tmp_path / "container-0.tar") as archive:
        assert json.loads(read(archive, "config.dump"))["id"] == ids[0]


def test_second_dump_fails(daemon: Daemon, tmp_path: Path) -> None:
    pod = daemon.run_pod("two", host_network=True)
    ids = [daemon.run_container(pod, "sleep", "1000", name=name) for name in ("a", "b")]
    deed(daemon, f"test $id != {ids[1]}")
    assert refusal(lambda: checkpoint_pod(daemon, pod, tmp_path, *ids))[0] == grpc.StatusCode.INTERNAL
    assert [runtime_status(daemon, one) for one in ids] == ["running", "running"]
    assert list(tmp_path.iterdir()) == []


def test_bad_pod_requests(daemon: Daemon, container: str, tmp_path: Path) -> None:
    sandbox = daemon.pods()[0].id
    other = daemon.run_container(daemon.run_pod("other", host_network=True), "sleep", "1000")
    second = daemon.run_container(sandbox, "sleep", "1000", name="second")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    good = tmp_path / "good"
    good.mkdir()
    for output, ids, code in (
        (good, (), "INVALID_ARGUMENT"),
        (good, ("",), "INVALID_ARGUMENT"),
        (good, (container,), "INVALID_ARGUMENT"),
        (good, (container, container), "INVALID_ARGUMENT"),
        (good, (container, container[:20], second), "INVALID_ARGUMENT"),
        (good, (container, second, other), "INVALID_ARGUMENT"),
        (good, (container, "f" * 64), "NOT_FOUND"),
        (tmp_path / "none", (container, second), "INVALID_ARGUMENT"),
        (tmp_path / "link" / "good", (container, second), "INVALID_ARGUMENT"),
        (tmp_path / "full" / "file", (container, second), "INVALID_ARGUMENT"),
        ("good", (container, second), "INVALID_ARGUMENT"),
        (tmp_path / "full", (container, second), "FAILED_PRECONDITION"),
    ):
        found, words = refusal(lambda output=output, ids=ids: checkpoint_pod(daemon, sandbox, output, *ids))  # type: ignore[misc]
        assert found.name == code, (output, ids, words)
    request = pb.CheckpointPodRequest(
        pod_sandbox_id=sandbox, output_path=str(good), container_ids=[container, second], options={"leave": "stopped"}
    )
    code_of_option, words = refusal(lambda: daemon.runtime.CheckpointPod(request))
    assert (code_of_option, "leave" in words) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    daemon.stop_container(second)
    assert refusal(lambda: checkpoint_pod(daemon, sandbox, good, container, second))[0].name == "FAILED_PRECONDITION"
    assert list(good.iterdir()) == []


def restore(
    daemon: Daemon, path: Path | str, *containers: pb.ContainerConfig, handler: str = "", name: str = "again",
    options: dict[str, str] | None = None,
) -> pb.RestorePodResponse:  # fmt: skip
    config = pod_config(name, daemon.directory / "logs" / name, host_network=True, labels={"from": "request"})
    request = pb.RestorePodRequest(
        checkpoint_path=str(path), config=config, container_configs=containers, runtime_handler=handler, options=options
    )
    answer = daemon.runtime.RestorePod(request, timeout=60)
    assert isinstance(answer, pb.RestorePodResponse)
    return answer


@pytest.fixture
def taken(daemon: Daemon, container: str, tmp_path: Path) -> Path:
    """A checkpoint of the pod that is removed afterwards."""
    output = tmp_path / "taken"
    output.mkdir(mode=0o700)
    sandbox = daemon.pods()[0].id
    checkpoint_pod(daemon, sandbox, output, container)
    daemon.remove_pod(sandbox)
    return output


MAIN = container_config("main", *LOOP, labels={"from": "request"})


def test_restore(daemon: Daemon, taken: Path) -> None:
    """CREATED and without a process; its files are the checkpoint's, all else the request's."""
    answer = restore(daemon, taken, MAIN)
    (restored,) = answer.restored_containers
    assert restored.name == "main"
    status = daemon.status(restored.container_id)
    assert (status.state, dict(status.labels)) == (pb.CONTAINER_CREATED, {"from": "request"})
    assert daemon.pod_status(answer.pod_sandbox_id).state == pb.SANDBOX_READY
    bundle = daemon.run / "containers" / restored.container_id
    assert (bundle / "rootfs/etc/new").read_text() == "new\n"
    assert not (bundle / "rootfs/etc/passwd").exists()
    assert not (bundle / "pidfile").exists()
    update = pb.UpdateContainerResourcesRequest(container_id=restored.container_id)
    update.linux.cpu_shares = 100
    assert refusal(lambda: daemon.runtime.UpdateContainerResources(update))[0].name == "FAILED_PRECONDITION"
    daemon.start_container(restored.container_id)
    assert (bundle / "restored").read_text().startswith("pages of ")
    assert list((daemon.root / "restores").iterdir()) == []
    daemon.wait_log(restored.container_id, "said")
    daemon.stop_container(restored.container_id)
    assert daemon.status(restored.container_id).state == pb.CONTAINER_EXITED


def test_restore_repeated(daemon: Daemon, taken: Path) -> None:
    """Whoever did not hear the answer gets it again, and nobody else does."""
    first = restore(daemon, taken, MAIN)
    assert restore(daemon, taken, MAIN) == first
    for path, config in ((taken.parent, MAIN), (taken, container_config("main", *LOOP))):
        code, words = refusal(lambda path=path, config=config: restore(daemon, path, config))  # type: ignore[misc]
        assert (code, "remove it first" in words) == (grpc.StatusCode.ALREADY_EXISTS, True)
    daemon.start_container(first.restored_containers[0].container_id)
    assert refusal(lambda: restore(daemon, taken, MAIN))[0] == grpc.StatusCode.ALREADY_EXISTS


def test_restore_is_removed_or_stopped_before_its_start(daemon: Daemon, taken: Path) -> None:
    answer = restore(daemon, taken, MAIN)
    container = answer.restored_containers[0].container_id
    daemon.stop_container(container)
    assert daemon.status(container).state == pb.CONTAINER_EXITED
    daemon.remove_pod(answer.pod_sandbox_id)
    daemon.remove_pod(restore(daemon, taken, MAIN).pod_sandbox_id)
    assert list((daemon.root / "restores").iterdir()) == []


def test_restore_that_fails_to_start(daemon: Daemon, taken: Path) -> None:
    container = restore(daemon, taken, MAIN).restored_containers[0].container_id
    (place(daemon) / "restores").write_text("echo no such pid >&2; exit 1")
    code, words = refusal(lambda: daemon.start_container(container))
    (place(daemon) / "restores").write_text("")
    assert (code, "no such pid" in words) == (grpc.StatusCode.INTERNAL, True), words
    assert daemon.status(container).reason == "StartError"


def test_restart_before_the_start(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    with serving(criu_daemon(tmp_path_factory.mktemp("e"))) as daemon:
        pod = daemon.run_pod("pod", host_network=True)
        container = daemon.run_container(pod, *LOOP)
        tmp_path.chmod(0o700)
        checkpoint_pod(daemon, pod, tmp_path, container)
        daemon.remove_pod(pod)
        restored = restore(daemon, tmp_path, MAIN).restored_containers[0].container_id
        daemon.kill()
        daemon.start()
        assert daemon.status(restored).state == pb.CONTAINER_CREATED
        daemon.start_container(restored)
        daemon.wait_log(restored, "said")


def refused_restore(daemon: Daemon, path: Path | str, *containers: pb.ContainerConfig, **more: Any) -> tuple[str, str]:
    """The code and the words; nothing is left of it."""
    code, words = refusal(lambda: restore(daemon, path, *containers, **more))
    assert daemon.pods() == []
    assert daemon.containers() == []
    top = daemon.root / "restores"
    assert not top.exists() or list(top.iterdir()) == []
    return code.name, words


def test_bad_restore_requests(daemon: Daemon, taken: Path, tmp_path: Path) -> None:
    other, image = container_config("other", *LOOP), container_config("main", *LOOP, image="none")
    (tmp_path / "link").symlink_to(taken)
    (tmp_path / "empty").mkdir()
    strict = container_config("main", *LOOP, security=pb.LinuxContainerSecurityContext(no_new_privs=True))
    for path, configs, more, code in (
        (taken, (), {}, "INVALID_ARGUMENT"),
        (taken, (MAIN, MAIN), {}, "INVALID_ARGUMENT"),
        (taken, (other,), {}, "INVALID_ARGUMENT"),
        (taken, (MAIN, other), {}, "INVALID_ARGUMENT"),
        (taken, (image,), {}, "NOT_FOUND"),
        (taken, (strict,), {}, "INVALID_ARGUMENT"),
        (taken, (MAIN,), {"handler": "unheard-of"}, "INVALID_ARGUMENT"),
        (taken, (MAIN,), {"handler": "crun"}, "UNIMPLEMENTED"),
        (taken, (MAIN,), {"options": {"tcp": "yes"}}, "INVALID_ARGUMENT"),
        (tmp_path / "link", (MAIN,), {}, "INVALID_ARGUMENT"),
        (tmp_path / "empty", (MAIN,), {}, "INVALID_ARGUMENT"),
        ("", (MAIN,), {}, "INVALID_ARGUMENT"),
    ):
        found, words = refused_restore(daemon, path, *configs, **more)
        assert found == code, (path, configs, more, words)


def test_checkpoint_that_others_can_write(daemon: Daemon, taken: Path) -> None:
    taken.chmod(0o777)
    assert refused_restore(daemon, taken, MAIN)[0] == "PERMISSION_DENIED"
    taken.chmod(0o700)
    os.chown(taken / "container-0.tar", 1000, 0)
    assert refused_restore(daemon, taken, MAIN)[0] == "PERMISSION_DENIED"


HOSTILE = {
    "no-archive": b"nothing of the kind" * 100,
    "escapes": tars.archive(tars.file(b"../../../tmp/evil", b"x")),
    "images-elsewhere": tars.archive(
        tars.symlink(b"checkpoint", b"/etc"), tars.file(b"spec.dump"), tars.file(b"rootfs-diff.tar")
    ),
    "image-is-a-link": tars.archive(
        tars.file(b"spec.dump", b"{}"), tars.file(b"rootfs-diff.tar"), tars.directory(b"checkpoint"),
        tars.symlink(b"checkpoint/pages-1.img", b"/etc/shadow"),
    ),
    "image-is-a-device": tars.archive(
        tars.file(b"spec.dump", b"{}"), tars.file(b"rootfs-diff.tar"), tars.directory(b"checkpoint"),
        tars.header(b"checkpoint/pages-1.img", b"3", major=1, minor=1),
    ),
    "difference-is-a-link": tars.archive(
        tars.file(b"spec.dump", b"{}"), tars.directory(b"checkpoint"), tars.symlink(b"rootfs-diff.tar", b"/etc/shadow")
    ),
    "difference-escapes": tars.archive(
        tars.file(b"spec.dump", b"{}"), tars.directory(b"checkpoint"),
        tars.file(b"rootfs-diff.tar", tars.archive(tars.file(b"../evil", b"x"))),
    ),
    "spec-is-nonsense": tars.archive(
        tars.file(b"spec.dump", b"[1"), tars.directory(b"checkpoint"), tars.file(b"rootfs-diff.tar", tars.archive())
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive(daemon: Daemon, taken: Path, kind: str) -> None:
    """The manifest vouches for it, so what is looked at is what is in it."""
    manifest = json.loads((taken / "checkpoint.json").read_text())
    manifest["containers"][0] |= {
        "digest": "sha256:" + hashlib.sha256(HOSTILE[kind]).hexdigest(), "size": len(HOSTILE[kind])
    }  # fmt: skip
    (taken / "container-0.tar").write_bytes(HOSTILE[kind])
    (taken / "checkpoint.json").write_text(json.dumps(manifest))
    assert refused_restore(daemon, taken, MAIN)[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("damage", ["other-bytes", "shorter", "link", "missing", "manifest", "names-a-path"])
def test_damaged_checkpoint(daemon: Daemon, taken: Path, damage: str) -> None:
    archive, manifest = taken / "container-0.tar", taken / "checkpoint.json"
    if damage == "other-bytes":
        archive.write_bytes(archive.read_bytes().replace(b"pages of", b"pages at"))
    elif damage == "shorter":
        os.truncate(archive, 1024)
    elif damage == "link":
        archive.rename(taken / "real")
        archive.symlink_to("real")
    elif damage == "missing":
        archive.unlink()
    elif damage == "manifest":
        manifest.write_text("{}")
    else:
        manifest.write_text(manifest.read_text().replace("container-0.tar", "../container-0.tar"))
    assert refused_restore(daemon, taken, MAIN)[0] == "INVALID_ARGUMENT"


def test_restore_is_off_by_default(tmp_path: Path) -> None:
    with serving(criu_daemon(tmp_path, config="[checkpoint]\nrestore = false\n")) as daemon:
        code, words = refusal(lambda: restore(daemon, tmp_path, MAIN))
        assert (code, "checkpoint.restore" in words) == (grpc.StatusCode.UNIMPLEMENTED, True)


def test_archive_limit(tmp_path: Path) -> None:
    with serving(criu_daemon(tmp_path, config="[checkpoint]\nmax_bytes = 20000\n")) as daemon:
        pod = daemon.run_pod("pod", host_network=True)
        container = daemon.run_container(pod, "sh", "-c", "head -c 30000 /dev/zero > /big; echo said; exec sleep 1000")
        daemon.wait_log(container, "said")
        code, words = refusal(lambda: checkpoint(daemon, container, tmp_path / "c"))
        assert (code, "max_bytes" in words) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        assert runtime_status(daemon, container) == "running"
        assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("lacks", ["kernel", "crun"])
def test_machine_that_can_not(tmp_path: Path, lacks: str) -> None:
    """UNIMPLEMENTED, with the reason and the remedy; and a CRIU that is mended needs no restart."""
    said = "#!/bin/sh\necho 'Error (criu/vdso.c:1): vdso: Unexpected bounds' >&2; exit 1\n"
    daemon = criu_daemon(tmp_path, criu=said)
    criu = place(daemon) / "criu"
    with serving(daemon):
        pod = daemon.run_pod("pod", host_network=True, handler="crun" if lacks == "crun" else "")
        container = daemon.run_container(pod, "sleep", "1000")
        code, words = refusal(lambda: checkpoint(daemon, container, tmp_path / "c"))
        assert code == grpc.StatusCode.UNIMPLEMENTED
        expected = {"kernel": "vdso: Unexpected bounds", "crun": "built without"}
        assert expected[lacks] in words
        if lacks == "kernel":
            criu.write_text("#!/bin/sh\n# mended\nexit 0\n")
            checkpoint(daemon, container, tmp_path / "c")
