"""Security contexts through the socket: who a container is, what it may do, which namespaces it shares."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import tars
from tests.support.daemon import Daemon, container_config, pod_config
from tests.support.images import HELLO_LAYER, load, refusal
from tests.support.registry import tar_layer

pytestmark = pytest.mark.root

Context = pb.LinuxContainerSecurityContext
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
CONTAINER = pb.NamespaceOption(network=pb.NODE, pid=pb.CONTAINER, ipc=pb.POD)


def shell(daemon: Daemon, container: str, script: str) -> str:
    answer = daemon.exec(container, "sh", "-c", script)
    assert answer.exit_code == 0, answer
    return answer.stdout.decode().strip()


def run(daemon: Daemon, pod: str, name: str = "main", *, image: str = "", **context: Any) -> str:
    """A container that sleeps, with a security context of these members."""
    more = {"image": image} if image else {}
    return daemon.run_container(pod, "sleep", "1000", name=name, security=Context(**context), **more)


def refused(daemon: Daemon, pod: str, *, image: str = "", **context: Any) -> tuple[grpc.StatusCode, str]:
    """Code and words of the CreateContainer; nothing of it is left."""
    answer = refusal(partial(run, daemon, pod, "refused", image=image, **context))
    assert daemon.containers() == []
    return answer


def process(daemon: Daemon, container: str) -> dict[str, str]:
    """/proc/1/status of a container that has a PID namespace of its own."""
    text = shell(daemon, container, "cat /proc/1/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def capabilities(mask: str) -> int:
    return int(mask, 16)


# -- users and groups

PASSWD = b"root:x:0:0:r:/root:/bin/sh\nweb:x:1000:1001:w:/home/web:/bin/sh\n42:x:1042:1042::/:/bin/sh\n"
GROUP = b"root:x:0:\nwww:x:1001:\nextra:x:2000:web,other\nmore:x:2001:web\n"


def with_users(daemon: Daemon, user: str = "") -> str:
    accounts = tar_layer({"etc/passwd": PASSWD, "etc/group": GROUP})
    return load(daemon, [HELLO_LAYER, accounts], {"User": user, "Env": ["PATH=/bin"]})


def ids(*, uid: int | None = None, gid: int | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = dict(more)
    if uid is not None:
        found["run_as_user"] = pb.Int64Value(value=uid)
    if gid is not None:
        found["run_as_group"] = pb.Int64Value(value=gid)
    return found


WHO: list[tuple[str, dict[str, Any], tuple[int, int, list[int]]]] = [
    ("", ids(), (0, 0, [0])),
    ("web", ids(), (1000, 1001, [1001, 2000, 2001])),
    ("web:extra", ids(), (1000, 2000, [2000, 2001])),
    ("77:88", ids(), (77, 88, [88])),
    ("web:extra", ids(uid=1000), (1000, 1001, [1001, 2000, 2001])),
    ("web", ids(uid=5), (5, 0, [0])),
    ("", ids(run_as_username="web"), (1000, 1001, [1001, 2000, 2001])),
    ("", ids(run_as_username="web", gid=7), (1000, 7, [7, 2000, 2001])),
    ("", ids(run_as_username="42"), (1042, 1042, [1042])),
    ("", ids(uid=1000, supplemental_groups=[9, 2000]), (1000, 1001, [1001, 9, 2000, 2001])),
    (
        "",
        ids(uid=1000, supplemental_groups=[9], supplemental_groups_policy=pb.Strict),
        (1000, 1001, [1001, 9]),
    ),
    ("", ids(uid=2**31 - 1, gid=2**31 - 1), (2**31 - 1, 2**31 - 1, [2**31 - 1])),
]


def test_who_the_process_is(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    images = {user: with_users(crun_daemon, user) for user, _context, _expected in WHO}
    for number, (user, context, expected) in enumerate(WHO):
        container = run(crun_daemon, pod, f"c{number}", image=images[user], **context)
        status = process(crun_daemon, container)
        uid, gid, groups = expected
        assert set(status["Uid"].split()) == {str(uid)}, (user, context)
        assert set(status["Gid"].split()) == {str(gid)}, (user, context)
        assert sorted(map(int, status["Groups"].split())) == sorted(groups), (user, context)
        reported = crun_daemon.status(container).user.linux
        assert (reported.uid, reported.gid, list(reported.supplemental_groups)) == expected


NOBODY: list[tuple[str, dict[str, Any], grpc.StatusCode, str]] = [
    ("", ids(gid=1), INVALID, "run_as_group"),
    ("", ids(uid=2**31), INVALID, "run_as_user"),
    ("", ids(uid=-1), INVALID, "run_as_user"),
    ("", ids(uid=1, gid=2**40), INVALID, "run_as_group"),
    ("", ids(uid=1, supplemental_groups=[-5]), INVALID, "supplemental_groups"),
    ("", ids(uid=1, run_as_username="web"), INVALID, "run_as_username"),
    ("", ids(run_as_username="nobody-here"), NOT_FOUND, "nobody-here"),
    ("", ids(run_as_username="1000"), NOT_FOUND, "1000"),
    ("nobody-here", ids(), NOT_FOUND, "nobody-here"),
    ("web:no-group", ids(), NOT_FOUND, "no-group"),
    ("4294967296", ids(), INVALID, "4294967296"),
    ("2147483648:1", ids(), INVALID, "2147483648"),
]


def test_who_it_cant_be(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    for user, context, code, words in NOBODY:
        found, details = refused(crun_daemon, pod, image=with_users(crun_daemon, user), **context)
        assert found == code, (user, context)
        assert words in details


def test_an_image_can_lend_no_file_of_the_hosts_as_its_accounts(crun_daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("stolen:x:1:1::/:/bin/sh\n")
    pod = crun_daemon.run_pod(host_network=True)
    linked = tars.archive(tars.symlink(b"etc/passwd", os.fsencode(tmp_path / "passwd")))
    image = load(crun_daemon, [HELLO_LAYER, linked], {"User": "stolen"})
    assert refused(crun_daemon, pod, image=image)[0] == NOT_FOUND
    huge = tar_layer({"etc/passwd": b"x" * (11 << 20)})
    image = load(crun_daemon, [HELLO_LAYER, huge], {"User": "web"})
    code, words = refused(crun_daemon, pod, image=image)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "etc/passwd" in words


def test_a_pods_group_needs_its_user(crun_daemon: Daemon) -> None:
    config = pod_config("bad", crun_daemon.directory / "logs")
    config.linux.security_context.run_as_group.value = 1
    code, words = refusal(lambda: crun_daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)))
    assert code == INVALID
    assert "run_as_group" in words
    assert crun_daemon.pods() == []


# -- capabilities and privileges


def test_capabilities(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    own = process_of_the_daemon(daemon)

    def masks(
        name: str, *, add: Sequence[str] = (), drop: Sequence[str] = (), ambient: Sequence[str] = (), uid: int = 0
    ) -> list[int]:
        asked = pb.Capability(add_capabilities=add, drop_capabilities=drop, add_ambient_capabilities=ambient)
        container = run(daemon, pod, name, capabilities=asked, **ids(uid=uid))
        found = process(daemon, container)
        return [capabilities(found[f"Cap{which}"]) for which in ("Bnd", "Prm", "Eff", "Inh", "Amb")]

    net_admin, net_bind = 1 << 12, 1 << 10
    default = 0xA80425FB
    assert masks("default") == [default, default, default, 0, 0]
    assert masks("add", add=["net_admin"], drop=["CAP_CHOWN"]) == [(default | net_admin) & ~1] * 3 + [0, 0]
    assert masks("only", add=["CAP_NET_ADMIN"], drop=["ALL"]) == [net_admin] * 3 + [0, 0]
    assert masks("none", drop=["ALL"]) == [0, 0, 0, 0, 0]
    assert masks("all", add=["ALL"]) == [capabilities(own["CapBnd"])] * 3 + [0, 0]
    assert masks("ambient", drop=["ALL"], ambient=["NET_BIND_SERVICE"], uid=1000) == [net_bind] * 5
    assert masks("user", uid=1000) == [default, 0, 0, 0, 0], "execve(2) takes them from whoever is not root"


def process_of_the_daemon(daemon: Daemon) -> dict[str, str]:
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_unknown_capabilities_are_refused(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    for member in ("add_capabilities", "drop_capabilities", "add_ambient_capabilities"):
        code, words = refused(crun_daemon, pod, capabilities=pb.Capability(**{member: ["CAP_NOPE"]}))
        assert code == INVALID
        assert "CAP_NOPE" in words


def test_privileged_lifts_what_hides_and_filters(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True, privileged=True)
    container = run(
        daemon, pod, privileged=True, masked_paths=["/proc/kcore"], readonly_paths=["/proc/sys"],
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.Localhost, localhost_ref="/no/such/profile"),
    )  # fmt: skip
    status = process(daemon, container)
    assert status["Seccomp"] == "0", "a privileged container's profile is not even read"
    assert capabilities(status["CapEff"]) == capabilities(process_of_the_daemon(daemon)["CapBnd"])
    mounted = [line.split() for line in shell(daemon, container, "cat /proc/self/mountinfo").splitlines()]
    options = {line[4]: line[5].split(",") for line in mounted}
    assert "rw" in options["/sys"]
    assert not any(target.startswith("/proc/") for target in options)
    shell(daemon, container, "mkdir /tmp/m && mount -t tmpfs none /tmp/m")


def test_privileged_needs_a_pod_made_for_it(crun_daemon: Daemon) -> None:
    assert refused(crun_daemon, crun_daemon.run_pod(host_network=True), privileged=True)[0] == PRECONDITION


def test_no_new_privileges(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    assert process(daemon, run(daemon, pod, "with", no_new_privs=True))["NoNewPrivs"] == "1"
    assert process(daemon, run(daemon, pod, "without"))["NoNewPrivs"] == "0"


def test_a_read_only_root(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    read_only = run(daemon, pod, "ro", readonly_rootfs=True)
    answer = daemon.exec(read_only, "sh", "-c", "touch /x")
    assert b"Read-only file system" in answer.stderr
    assert daemon.exec(read_only, "sh", "-c", "echo x >> /etc/hosts").exit_code != 0
    shell(daemon, read_only, "touch /dev/shm/x")
    shell(daemon, run(daemon, pod, "rw"), "touch /x")


def test_masked_and_read_only_paths_are_those_given(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    hiding = run(daemon, pod, "hiding", masked_paths=["/proc/uptime", "/sys/kernel"], readonly_paths=["/proc/sys/net"])
    assert shell(daemon, hiding, "cat /proc/uptime; ls /sys/kernel") == ""
    assert daemon.exec(hiding, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_syncookies").exit_code != 0
    shell(daemon, hiding, "cat /proc/sys/net/ipv4/tcp_syncookies")
    plain = run(daemon, pod, "plain")
    assert shell(daemon, plain, "cat /proc/uptime; ls /sys/kernel") != ""
    targets = [line.split()[4] for line in shell(daemon, plain, "cat /proc/self/mountinfo").splitlines()]
    assert not any(target.startswith("/proc/") for target in targets), "empty lists mean none, not a default"


def test_hidden_paths_are_absolute(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    for field in ("masked_paths", "readonly_paths"):
        wrong: dict[str, Any] = {field: ["proc/kcore"]}
        code, words = refused(crun_daemon, pod, **wrong)
        assert code == INVALID
        assert f"{field}[0]" in words


# -- seccomp, AppArmor, SELinux


def profile_file(directory: Path, denied: str) -> Path:
    rules = [{"names": [denied], "action": "SCMP_ACT_ERRNO"}]
    path = directory / f"deny-{denied}.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    return path


def test_seccomp_profiles(daemon: Daemon, tmp_path: Path) -> None:
    pod = daemon.run_pod(host_network=True)
    kinds = pb.SecurityProfile
    path = str(profile_file(tmp_path, "mkdir"))
    local = kinds(profile_type=kinds.Localhost, localhost_ref=path)
    default, unconfined = kinds(profile_type=kinds.RuntimeDefault), kinds(profile_type=kinds.Unconfined)
    asked: dict[str, tuple[dict[str, Any], str, bool]] = {
        "unset": ({}, "0", True),
        "unconfined": ({"seccomp": unconfined}, "0", True),
        "default": ({"seccomp": default}, "2", True),
        "local": ({"seccomp": local}, "2", False),
        "old-default": ({"seccomp_profile_path": "runtime/default"}, "2", True),
        "old-local": ({"seccomp_profile_path": f"localhost/{path}"}, "2", False),
        "new-wins": ({"seccomp": unconfined, "seccomp_profile_path": f"localhost/{path}"}, "0", True),
    }
    for name, (context, mode, may_make) in asked.items():
        container = run(daemon, pod, name, **context)
        assert process(daemon, container)["Seccomp"] == mode, name
        assert (daemon.exec(container, "sh", "-c", "mkdir /made").exit_code == 0) == may_make, name
    assert b"Operation not permitted" in daemon.exec(
        daemon.run_container(
            pod, "sleep", "1000", name="namespaces",
            security=Context(seccomp=default, capabilities=pb.Capability(drop_capabilities=["SYS_ADMIN"])),
        ),
        "sh", "-c", "unshare -U true",
    ).stderr, "the default profile lets nobody make namespaces"  # fmt: skip


def test_seccomp_profiles_that_are_not_there_or_wrong(crun_daemon: Daemon, tmp_path: Path) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    kinds = pb.SecurityProfile
    (tmp_path / "broken.json").write_text("{")
    for ref, code in ((str(tmp_path / "none.json"), NOT_FOUND), (str(tmp_path / "broken.json"), INVALID)):
        local = kinds(profile_type=kinds.Localhost, localhost_ref=ref)
        assert refused(crun_daemon, pod, seccomp=local)[0] == code
        found, words = refused(crun_daemon, pod, seccomp_profile_path=f"localhost/{ref}")
        assert found == code
        assert ref in words
    for wrong in (
        kinds(profile_type=kinds.Localhost),
        kinds(profile_type=kinds.Localhost, localhost_ref="relative.json"),
    ):
        assert refused(crun_daemon, pod, seccomp=wrong)[0] == INVALID
    assert refused(crun_daemon, pod, seccomp_profile_path="no-profile")[0] == INVALID


@pytest.mark.skipif(Path("/sys/module/apparmor/parameters/enabled").exists(), reason="this kernel has AppArmor")
def test_apparmor_profiles_without_apparmor(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    kinds = pb.SecurityProfile
    local = kinds(profile_type=kinds.Localhost, localhost_ref="mine")
    for context in ({"apparmor": local}, {"apparmor_profile": "localhost/mine"}):
        code, words = refused(crun_daemon, pod, **context)
        assert code == PRECONDITION
        assert "'mine'" in words
        assert "no AppArmor" in words
    wins = kinds(profile_type=kinds.Unconfined)
    run(crun_daemon, pod, "new-wins", apparmor=wins, apparmor_profile="localhost/mine")
    run(crun_daemon, pod, "default", apparmor=kinds(profile_type=kinds.RuntimeDefault))


@pytest.mark.skipif(Path("/sys/fs/selinux/enforce").exists(), reason="this kernel has SELinux")
def test_selinux_labels_without_selinux(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    code, words = refused(crun_daemon, pod, selinux_options=pb.SELinuxOption(type="container_t", level="s0:c1,c2"))
    assert code == PRECONDITION
    assert "selinux_optional" in words
    code, words = refused(crun_daemon, pod, selinux_options=pb.SELinuxOption(level="s0,c1,c2"))
    assert code == INVALID
    assert "selinux_options.level" in words
    run(crun_daemon, pod, "nothing-asked", selinux_options=pb.SELinuxOption())
    with crun_daemon.config.open("a") as file:
        file.write("[container]\nselinux_optional = true\n")
    crun_daemon.restart()
    run(crun_daemon, pod, "optional", selinux_options=pb.SELinuxOption(type="spc_t"))


# -- sysctls


def test_sysctls_are_the_pods_alone(daemon: Daemon) -> None:
    before = Path("/proc/sys/kernel/shm_rmid_forced").read_text()
    sysctls = {
        "net.ipv4.ip_local_port_range": "3000 4000", "net/ipv6/conf/lo/disable_ipv6": "1", "net.core.somaxconn": "77",
        "kernel.shm_rmid_forced": "1", "kernel.sem": "100 200 30 40", "fs.mqueue.msg_max": "12",
    }  # fmt: skip
    pod = daemon.run_pod(sysctls=sysctls)
    container = run(daemon, pod)
    for key, value in sysctls.items():
        path = key if "/" in key else key.replace(".", "/")
        assert shell(daemon, container, f"cat /proc/sys/{path}").split() == value.split(), key
    assert Path("/proc/sys/kernel/shm_rmid_forced").read_text() == before


NOT_THE_PODS: list[tuple[str, str, dict[str, Any]]] = [
    ("kernel.core_pattern", "|/evil", {}),
    ("vm.swappiness", "1", {}),
    ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil #", {}),
    ("kernel.shm_rmid_forced", "1\n", {}),
    ("net.ipv4.ip_forward=1\nkernel.core_pattern", "x", {}),
    ("net/../kernel/core_pattern", "x", {}),
    ("net.ipv4.no_such_thing", "1", {}),
    ("net.ipv4.ip_forward", "a lot", {}),
    ("net.ipv4.ip_forward", "1", {"network": pb.NODE}),
    ("kernel.msgmax", "10000", {"ipc": pb.NODE}),
    ("fs.mqueue.msg_max", "12", {"ipc": pb.NODE}),
]


def test_other_sysctls_are_refused_before_anything_is_made(crun_daemon: Daemon) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_bytes()
    for sysctl, value, options in NOT_THE_PODS:
        config = pod_config("bad", crun_daemon.directory / "logs", sysctls={sysctl: value})
        config.linux.security_context.namespace_options.MergeFrom(pb.NamespaceOption(**options))
        config.ClearField("hostname")
        request = pb.RunPodSandboxRequest(config=config)
        code, words = refusal(partial(crun_daemon.runtime.RunPodSandbox, request))
        assert code == INVALID, (sysctl, value, words)
        assert crun_daemon.pods() == []
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == pattern


# -- namespaces


def namespace(daemon: Daemon, container: str, kind: str) -> str:
    request = pb.ContainerStatusRequest(container_id=container, verbose=True)
    pid = json.loads(daemon.runtime.ContainerStatus(request).info["info"])["pid"]
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def test_pid_namespaces(daemon: Daemon) -> None:
    pod = daemon.run_pod(pid=pb.POD)
    host = os.readlink("/proc/self/ns/pid")

    def mode(name: str, pid: int, target: str = "") -> str:
        options = pb.NamespaceOption(network=pb.POD, ipc=pb.POD, pid=pid, target_id=target)  # type: ignore[arg-type]
        return run(daemon, pod, name, namespace_options=options)

    shared, shared_too = mode("one", pb.POD), mode("two", pb.POD)
    own, node = mode("own", pb.CONTAINER), mode("node", pb.NODE)
    debugger = mode("debug", pb.TARGET, own)
    spaces = {c: namespace(daemon, c, "pid") for c in (shared, shared_too, own, node, debugger)}
    assert spaces[shared] == spaces[shared_too]
    assert spaces[debugger] == spaces[own]
    assert spaces[node] == host
    assert len({host, spaces[shared], spaces[own]}) == 3
    assert "sleep 1000" in shell(daemon, debugger, "cat /proc/1/cmdline | tr '\\0' ' '"), "it sees its target"


def test_pid_targets_that_cant_be(crun_daemon: Daemon) -> None:
    pod, other = crun_daemon.run_pod("pod", host_network=True), crun_daemon.run_pod("other", host_network=True)
    elsewhere = run(crun_daemon, other, "elsewhere")
    ended = run(crun_daemon, pod, "ended")
    crun_daemon.stop_container(ended)

    def target(container: str) -> tuple[grpc.StatusCode, str]:
        options = pb.NamespaceOption(network=pb.NODE, pid=pb.TARGET, ipc=pb.POD, target_id=container)
        return refusal(partial(run, crun_daemon, pod, "refused", namespace_options=options))

    assert target("f" * 64)[0] == NOT_FOUND
    assert target(elsewhere)[0] == INVALID
    assert target(ended)[0] == INVALID
    assert len(crun_daemon.containers()) == 2
    shared = pb.NamespaceOption(network=pb.NODE, pid=pb.POD, ipc=pb.POD)
    assert refusal(partial(run, crun_daemon, pod, "refused", namespace_options=shared))[0] == PRECONDITION
    config = pod_config("bad", crun_daemon.directory / "logs", pid=pb.TARGET)
    assert refusal(lambda: crun_daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)))[0] == INVALID


def test_ipc_network_and_host_names_are_the_pods_or_the_nodes(daemon: Daemon) -> None:
    pod, host_pod = daemon.run_pod("pod"), "host"
    one, two = run(daemon, pod, "one"), run(daemon, pod, "two")
    config = pod_config(host_pod, daemon.directory / "logs" / "host", host_network=True)
    config.linux.security_context.namespace_options.ipc = pb.NODE
    host_pod = daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id
    host = run(daemon, host_pod, "host")
    for kind in ("ipc", "net", "uts"):
        assert namespace(daemon, one, kind) == namespace(daemon, two, kind)
        assert namespace(daemon, host, kind) == os.readlink(f"/proc/self/ns/{kind}") != namespace(daemon, one, kind)
    shell(daemon, one, "echo shared > /dev/shm/file")
    assert shell(daemon, two, "cat /dev/shm/file") == "shared"
    assert daemon.exec(host, "cat", "/dev/shm/file").exit_code != 0


def test_a_container_keeps_its_context_through_a_restart(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    context = {**ids(uid=65534, gid=7), "no_new_privs": True}
    config = container_config("main", "sleep", "1000", security=Context(**context))
    container = crun_daemon.create(pod, config)
    crun_daemon.kill()
    crun_daemon.start()
    crun_daemon.start_container(container)
    assert shell(crun_daemon, container, "id -u; id -g").split() == ["65534", "7"]
    assert process(crun_daemon, container)["NoNewPrivs"] == "1"
    assert crun_daemon.status(container).user.linux.uid == 65534
