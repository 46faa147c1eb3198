"""The agent as PID 1 of a real machine: containers, their streams, signals, ends, limits and numbers."""

from __future__ import annotations

import json
import signal
from typing import Any

import msgspec
import pytest

from podwright.guest.credentials import COMPILED_SECCOMP
from podwright.security.seccomp_filter import compiled
from podwright.wire.guest_frames import CREDIT_BYTES
from tests.support import names
from tests.support.guest import MAC, Client, Machine, Refused

pytestmark = pytest.mark.root

_CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]


def process(*args: str, terminal: bool = False, **changes: Any) -> dict[str, Any]:
    return {
        "args": list(args), "cwd": "/", "env": ["PATH=/bin", "WORD=yes"], "terminal": terminal,
        "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES), **changes,
    }  # fmt: skip


def specification(*args: str, mounts: list[dict[str, Any]] | None = None, linux: dict[str, Any] | None = None,
                  annotations: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:  # fmt: skip
    return {
        "ociVersion": "1.1.0", "annotations": annotations or {}, "process": process(*args, **changes),
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["ptmxmode=0666"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "size=8m"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]},
            *(mounts or []),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network", "cgroup")],
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], **(linux or {}),
        },
    }  # fmt: skip


def _compiled(profile: dict[str, Any]) -> dict[str, str]:
    return {COMPILED_SECCOMP: compiled(msgspec.Raw(json.dumps(profile).encode()))}


class Container:
    """A container and its streams; gone after `with`."""

    def __init__(self, client: Client, spec: dict[str, Any], *, stdin: bool = False, **attributes: object) -> None:
        self.client, self.id = client, names.unique("c")
        self.out = client.output()
        streams = {"stdout": self.out}
        if not spec["process"]["terminal"]:
            self.err = streams["stderr"] = client.output()
        if stdin or spec["process"]["terminal"]:
            self.stdin = streams["stdin"] = client.input()
        self.pid = client.ask(
            "create", id=self.id, rootfs="share:busybox", spec=spec, streams=streams, **attributes
        )["pid"]  # fmt: skip

    def __enter__(self) -> Container:
        self.client.ask("start", id=self.id)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.ask("delete", id=self.id)

    def end(self) -> dict[str, Any]:
        return self.client.notice("exit", id=self.id)

    def read(self) -> str:
        return self.client.read(self.out).decode()

    def exec(self, *args: str, **changes: Any) -> tuple[int, str]:
        """Run a command: its exit code and output."""
        key, out = names.unique("e"), self.client.output()
        self.client.ask("exec", id=self.id, exec=key, process=process(*args, **changes), streams={"stdout": out})
        text = self.client.read(out).decode()
        return self.client.notice("exit", id=self.id, exec=key)["code"], text


def run(client: Client, *args: str, **more: Any) -> tuple[int, str, str]:
    """A whole container: exit code, output, errors."""
    with Container(client, specification(*args, **more)) as container:
        code = container.end()["code"]
        return code, container.read(), client.read(container.err).decode()


@pytest.fixture(scope="module")
def sleeper(client: Client) -> Any:
    """One container for the tests that only need some."""
    script = "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with Container(client, specification("sh", "-c", script)) as container:
        client.until_output(container.out, b"ready")
        yield container


def test_a_container_writes_and_ends_with_its_code(client: Client) -> None:
    script = "echo out $WORD $(pwd) $(id -u); echo err >&2; exit 7"
    assert run(client, "sh", "-c", script, cwd="/tmp") == (7, "out yes /tmp 0\n", "err\n")


def test_what_the_specification_says_of_the_process_holds(client: Client) -> None:
    script = "id -u; id -g; id -G; umask; ulimit -n; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status"
    user = {"uid": 1000, "gid": 1000, "additionalGids": [50000], "umask": 0o027}
    rlimits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}  # fmt: skip
    code, out, _ = run(
        client, "sh", "-c", script + "; mkdir /tmp/x 2>&1 | grep -o 'not permitted'",
        user=user, rlimits=rlimits, linux={"seccomp": seccomp}, annotations=_compiled(seccomp),
    )  # fmt: skip
    assert out.split("\n") == [
        "1000", "1000", "1000 50000", "0027", "100", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
        "not permitted", "",
    ]  # fmt: skip
    assert code == 0


def test_mounts_come_in_order_and_paths_are_masked_and_readonly(client: Client, machine: Machine) -> None:
    (machine.share / "volume/below").mkdir(parents=True)
    (machine.share / "file").write_text("hosts\n")
    mounts = [
        {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/mnt/v", "type": "bind", "source": "share:volume", "options": ["rbind", "rw"]},
        {"destination": "/mnt/ro", "type": "bind", "source": "share:volume", "options": ["rbind", "ro"]},
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "tmpcopyup"]},
        {"destination": "/etc/hosts", "type": "bind", "source": "share:file", "options": ["bind", "ro"]},
    ]
    script = (
        "cat /etc/hosts; echo written >/mnt/v/below/f; cat /mnt/ro/below/f; touch /mnt/ro/x 2>&1 | grep -o Read-only;"
        " wc -c </proc/kcore; touch /proc/sys/kernel/x 2>&1 | grep -oE 'Read-only|nonexistent|No such';"
        " grep -c web /etc/passwd; touch /etc/x 2>&1 | grep -o Read-only; ulimit -n;"
        " stat -f -c %T /dev/shm /dev/mqueue /proc; ls /dev/pts; ls -d /share /agent 2>&1 | wc -l"
    )
    _, out, _ = run(client, "sh", "-c", script, mounts=mounts)
    lines = out.splitlines()
    assert lines[:4] == ["hosts", "written", "Read-only", "0"]
    assert lines[5:9] == ["1", "Read-only", "1024", "tmpfs"]
    assert lines[11:] == ["ptmx", "2"], "the share and the agent are not in the container"
    assert (machine.share / "volume/below/f").read_text() == "written\n"


def test_signals_and_their_exit_codes(client: Client) -> None:
    with Container(
        client, specification("sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
    ) as one:
        client.until_output(one.out, b"up")
        client.ask("signal", id=one.id, signal=signal.SIGTERM)
        assert one.end()["code"] == 3
        with pytest.raises(Refused, match="has ended") as refused:
            client.ask("signal", id=one.id, signal=signal.SIGTERM)
        assert refused.value.kind == "not-found"
    with Container(client, specification("sleep", "100")) as one:
        client.ask("signal", id=one.id, signal=signal.SIGKILL)
        assert one.end() | {"at_ns": 0} == {"notice": "exit", "id": one.id, "code": 137, "oom": False, "at_ns": 0}


def test_a_signal_to_all_and_the_end_of_everything(client: Client, sleeper: Container) -> None:
    with Container(client, specification("sh", "-c", "sleep 100 & sleep 100 & echo up; wait")) as one:
        client.until_output(one.out, b"up")
        found = client.ask("processes", id=one.id)["processes"]
        assert sorted(entry["parent"] for entry in found)[1:] == [one.pid, one.pid]
        assert {entry["user"] for entry in found} == {0}
        client.ask("signal", id=one.id, signal=signal.SIGKILL, all=True)
        assert one.end()["code"] == 137
        assert client.ask("processes", id=one.id) == {"processes": []}


def test_exec_runs_in_the_container(client: Client, sleeper: Container) -> None:
    code, out = sleeper.exec("sh", "-c", "readlink /proc/1/exe; exit 9")
    assert (code, out) == (9, "/bin/busybox\n")
    assert sleeper.exec("id", "-u", user={"uid": 1000, "gid": 1000}) == (0, "1000\n")


def test_what_can_not_be_executed_is_told(client: Client, sleeper: Container) -> None:
    with pytest.raises(Refused, match="nosuchprogram") as refused:
        sleeper.exec("nosuchprogram")
    assert refused.value.kind == "invalid"
    with pytest.raises(Refused, match="nosuchprogram"):
        Container(client, specification("nosuchprogram")).__enter__()


def test_an_exec_that_fails_at_the_last_moment_leaves_nothing(client: Client, sleeper: Container) -> None:
    """So its id can be used again."""
    sleeper.exec("sh", "-c", "printf junk >/tmp/junk; chmod 755 /tmp/junk")
    for _ in range(2):
        with pytest.raises(Refused, match="Exec format error") as refused:
            client.ask("exec", id=sleeper.id, exec="again", process=process("/tmp/junk"), streams={})
        assert refused.value.kind == "invalid"
    key, out = "again", client.output()
    client.ask("exec", id=sleeper.id, exec=key, process=process("echo", "well"), streams={"stdout": out})
    assert client.read(out) == b"well\n"
    assert client.notice("exit", id=sleeper.id, exec=key)["code"] == 0


def test_input_goes_through_and_ends(client: Client) -> None:
    """More than pipes and credit hold, there and back, while another container has not been started."""
    with Container(client, specification("cat"), stdin=True) as one:
        waiting = Container(client, specification("true"))
        data = b"".join(b"%07d\n" % number for number in range(60_000))
        client.type(one.stdin, data, end=True)
        assert client.read(one.out) == data
        assert one.end()["code"] == 0
        client.ask("delete", id=waiting.id)
        assert waiting.end()["code"] == 137


def test_an_input_without_a_reader_is_reset(client: Client) -> None:
    with Container(client, specification("sh", "-c", "exec <&-; echo closed; sleep 100"), stdin=True) as one:
        client.until_output(one.out, b"closed")
        client.until(lambda: one.stdin in client.resets, "a reset of the input")


def test_a_slow_reader_stops_its_own_stream_alone(client: Client, sleeper: Container) -> None:
    with Container(client, specification("yes")) as one:
        client.slow.add(one.out)
        client.until(lambda: len(client.data[one.out]) == CREDIT_BYTES, "all that there is credit for")
        assert sleeper.exec("echo", "on") == (0, "on\n")
        assert len(client.data[one.out]) == CREDIT_BYTES
        client.take(one.out)
        client.until(lambda: len(client.data[one.out]) >= CREDIT_BYTES // 4, "more")
        client.reset(one.out)
        assert one.end()["code"] != 0


def test_a_terminal_has_its_size_and_takes_more(client: Client) -> None:
    spec = specification("sh", terminal=True)
    with Container(client, spec, size={"width": 91, "height": 33}) as one:
        client.type(one.stdin, b"tty; stty size\n")
        client.until_output(one.out, b"33 91")
        assert b"/dev/pts/0" in client.data[one.out] or b"/dev/console" in client.data[one.out]
        client.ask("resize", id=one.id, width=120, height=40)
        client.type(one.stdin, b"stty size\n")
        client.until_output(one.out, b"40 120")
        client.type(one.stdin, b"exit 4\n")
        assert one.end()["code"] == 4
        client.read(one.out)


def test_an_exec_with_a_terminal_ends_at_the_end_of_its_input(client: Client, sleeper: Container) -> None:
    source, out = client.input(), client.output()
    client.ask("exec", id=sleeper.id, exec="t", process=process("cat", terminal=True), size={"width": 80, "height": 24},
               streams={"stdin": source, "stdout": out})  # fmt: skip
    client.type(source, b"line\n", end=True)
    assert client.read(out) == b"line\r\nline\r\n"
    assert client.notice("exit", id=sleeper.id, exec="t")["code"] == 0


def test_memory_that_runs_out_is_told_apart(client: Client) -> None:
    limits = {"resources": {"memory": {"limit": 16 << 20}, "pids": {"limit": 50}}}
    with Container(client, specification("sh", "-c", "x=a; while :; do x=$x$x; done", linux=limits)) as one:
        assert client.notice("oom", id=one.id)
        end = one.end()
        assert (end["code"], end["oom"]) == (137, True)


def test_limits_show_in_the_numbers_and_can_be_updated(client: Client) -> None:
    limits = {
        "resources": {"memory": {"limit": 32 << 20}, "cpu": {"quota": 20000, "period": 100000}, "pids": {"limit": 9}}
    }
    with Container(client, specification("sleep", "100", linux=limits)) as one:
        numbers = client.ask("stats", id=one.id)
        assert (numbers["memory_limit_bytes"], numbers["pids_limit"], numbers["pids"]) == (32 << 20, 9, 1)
        assert 0 < numbers["memory_bytes"] < 32 << 20
        assert numbers["cpu_usage_us"] > 0
        assert numbers["oom_kills"] == 0
        client.ask("update", id=one.id, resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 20}})
        numbers = client.ask("stats", id=one.id)
        assert (numbers["memory_limit_bytes"], numbers["pids_limit"]) == (64 << 20, 20)


def test_the_machine_has_numbers(client: Client) -> None:
    numbers = client.ask("stats")
    assert numbers["memory_available_bytes"] < numbers["memory_total_bytes"] <= 384 << 20
    assert "lo" in [link["name"] for link in numbers["network"]]


def test_the_machine_is_in_the_pods_network(client: Client, machine: Machine, sleeper: Container) -> None:
    """Addresses of both families, a gateway that no address reaches, routes in an order that can't be taken as is."""
    network = {
        "hostname": "pod-name",
        "interfaces": [{"mac": MAC, "name": "pod0", "mtu": 1400, "addresses": ["10.9.8.2/24", "fd09:8::2/64"]}],
        "routes": [
            {"destination": "10.99.0.0/16", "gateway": "10.98.0.1", "interface": "pod0"},
            {"destination": "0.0.0.0/0", "gateway": "10.9.7.1", "interface": "pod0", "onlink": True},
            {"destination": "10.98.0.0/24", "interface": "pod0"},
            {"destination": "::/0", "gateway": "fd09:8::1", "interface": "pod0"},
        ],
        "neighbours": [{"address": "10.9.8.77", "mac": "02:00:00:00:00:77", "interface": "pod0"}],
    }
    for _ in range(2):
        client.ask("network", **network)
    machine.from_outside("busybox", "ping", "-c", "1", "-W", "20", "10.9.8.2")
    machine.from_outside("busybox", "ping", "-6", "-c", "1", "-W", "20", "fd09:8::2")
    script = "cat /proc/net/route /proc/net/arp /sys/class/net/pod0/mtu; hostname; grep -c . /proc/net/ipv6_route"
    words = sleeper.exec("sh", "-c", script)[1].split()
    gateway = bytes([10, 9, 7, 1])[::-1].hex().upper()
    assert words[words.index(gateway) - 1] == "00000000", "the default route"
    assert {"02:00:00:00:00:77", "1400", "pod-name"} <= set(words)
    with pytest.raises(Refused, match=r"routes\[0\]: Network is unreachable"):
        client.ask("network", routes=[{"destination": "10.97.0.0/16", "gateway": "192.0.2.1", "interface": "pod0"}])
    with pytest.raises(Refused, match=r"interfaces\[0\].mac: the machine has no interface"):
        client.ask("network", interfaces=[{"mac": "02:00:00:00:00:01", "name": "x"}])


def test_a_paused_container_stands_still(client: Client) -> None:
    with Container(client, specification("sh", "-c", "while :; do echo tick; sleep 0.02; done")) as one:
        client.until_output(one.out, b"tick")
        client.ask("pause", id=one.id)
        before = bytes(client.data[one.out])
        client.settle(0.3)
        assert len(client.data[one.out]) <= len(before) + 20
        with pytest.raises(Refused, match="paused"):
            one.exec("true")
        before = bytes(client.data[one.out])
        client.ask("resume", id=one.id)
        client.until(lambda: len(client.data[one.out]) > len(before), "another tick")
        client.ask("pause", id=one.id)  # it is deleted frozen


def test_containers_share_what_a_pod_shares(client: Client, sleeper: Container) -> None:
    sleeper.exec("sh", "-c", "echo shared >/dev/shm/f")
    assert run(client, "cat", "/dev/shm/f")[1] == "shared\n"
    assert run(client, "readlink", "/proc/self/ns/net")[1] == sleeper.exec("readlink", "/proc/self/ns/net")[1]
    namespaces = [{"type": "mount"}, {"type": "pid", "path": f"container:{sleeper.id}"}]
    own = run(client, "readlink", "/proc/self/ns/pid")[1]
    joined = run(client, "readlink", "/proc/self/ns/pid", linux={"namespaces": namespaces})[1]
    assert joined == sleeper.exec("readlink", "/proc/self/ns/pid")[1] != own


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"rootfs": "/etc"}, "invalid", "rootfs: '/etc' is not a path in the share"),
        ({"rootfs": "share:../x"}, "invalid", "rootfs"),
        ({"id": "../x"}, "invalid", "id: '../x' is not an id"),
        ({"spec": {"process": {"args": []}}}, "invalid", "spec.process.args: is empty"),
        (
            {"spec": {"process": {"args": ["a"]}, "linux": {"devices": [{"path": "/dev/fuse0"}]}}},
            "unsupported",
            "/dev/fuse0",
        ),
        ({"spec": {"process": {"args": ["a"]}, "hooks": {"prestart": []}}}, "unsupported", "spec.hooks"),
        ({"streams": {"stdout": "1"}}, "invalid", "streams.stdout: '1' is not a number"),
    ],
)
def test_what_can_not_be_created_is_refused_by_name(
    client: Client, change: dict[str, Any], kind: str, words: str
) -> None:
    request = {"id": "bad", "rootfs": "share:busybox", "spec": specification("true"), "streams": {}} | change
    with pytest.raises(Refused, match=words.replace("[", r"\[")) as refused:
        client.ask("create", **request)
    assert refused.value.kind == kind
    with pytest.raises(Refused, match="there is no container bad"):
        client.ask("start", id="bad")


def test_the_agent_survives_what_it_can_not_understand(client: Client) -> None:
    with pytest.raises(Refused, match="verb: there is no 'dance'"):
        client.ask("dance")
    with pytest.raises(Refused, match=r"sysctl kernel.msgmax: 'many'"):
        client.ask("network", interfaces=[], routes=[], neighbours=[], sysctls={"kernel.msgmax": "many"})
    assert client.ask("ping")["uptime_s"] > 0


def test_nothing_is_left_of_containers(client: Client, sleeper: Container) -> None:
    before = client.ask("stats")["pids"]
    for _ in range(2):
        run(client, "true")
    assert client.ask("stats")["pids"] <= before + 2
