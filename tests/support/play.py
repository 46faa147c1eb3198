"""What `podwright play` must do with any CRI runtime: called by the tests for ours and for containerd's."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support import names
from tests.support.command_line import CommandLine

IMAGE = "localhost/podwright/hello:latest"
EXAMPLE = Path(__file__).parents[2] / "examples/hello.yaml"


class Player:
    """Plays manifests in a directory of its own."""

    def __init__(self, podwright: CommandLine, directory: Path) -> None:
        self.podwright, self.directory = podwright, directory
        self.state = directory / "state"
        self.name = names.unique("pod")
        self.manifest = directory / f"{self.name}.yaml"

    def write(self, spec: dict[str, Any], *others: dict[str, Any]) -> None:
        """A pod of `spec` and other documents. JSON is YAML."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name}, "spec": spec}
        self.manifest.write_text("\n---\n".join(json.dumps(document) for document in (*others, pod)))

    def play(self, *options: str) -> Any:
        return self.podwright("play", "--state-dir", self.state, *options, self.manifest)

    def down(self) -> str:
        result = self.play("--down")
        assert result.code == 0, result
        assert list(self.state.iterdir()) == []
        return str(result.out)

    def log(self, container: str) -> str:
        return self.podwright.ok("logs", f"{self.name}/{container}")


def container(name: str, script: str, **fields: Any) -> dict[str, Any]:
    """A container that runs a shell script. A sleeping shell ends on SIGTERM at once."""
    return {"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", script], **fields}


def sleeper(name: str = "main", script: str = "", **fields: Any) -> dict[str, Any]:
    return container(name, f"{script}\ntrap 'exit 0' TERM; sleep 1000 & wait", **fields)


def check_example(podwright: CommandLine, directory: Path) -> None:
    """The example of the README: a page that an init container wrote, served over the pod's IP."""
    player = Player(podwright, directory)
    player.manifest.write_text(EXAMPLE.read_text().replace("  name: hello\n", f"  name: {player.name}\n"))
    result = player.play()
    assert (result.code, result.err) == (0, "")
    ip = result.out.rsplit(" ", 1)[-1].strip()
    assert f"This is pod {player.name} at {ip}." in fetch(f"http://{ip}:8080/")
    assert player.log("write-page") == f"wrote the page of {player.name}\n"
    row = next(line for line in podwright.ok("pods").splitlines() if f" {player.name} " in line)
    assert ip in row
    again = player.play()
    assert again.out == f"pod default/{player.name} already runs\npod default/{player.name} is up at {ip}\n"
    assert player.down() == f"pod default/{player.name} is down\n"
    assert player.down() == f"pod default/{player.name} was not there\n"
    assert player.name not in podwright.ok("pods")


def check_whole_manifest(podwright: CommandLine, directory: Path) -> None:
    """Volumes of all kinds, environment, users, a sidecar, last words, host aliases: each seen from inside."""
    player = Player(podwright, directory)
    (directory / "host").mkdir()
    (directory / "host/file").write_text("from the host\n")
    player.write(*_whole_manifest(directory))
    result = player.play()
    assert result.code == 0, result
    wait_for(lambda: "written" in player.log("main"), lambda: player.log("main"))
    log = player.log("main").splitlines()
    assert log[0].split()[:2] == ["user", "1000:2000"]
    assert {"3000", "4000"} <= set(log[0].split()[2:])
    assert log[1:] == [
        "xfrom the host", "side", f"env value <value> {player.name}", "10.9.9.9\tdb", "1", "named", "written"
    ]  # fmt: skip
    assert player.log("side") == "side runs\n"
    player.down()
    assert (directory / "host/file").exists()


def _whole_manifest(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod's specification, and a ConfigMap that it uses."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"key": "value", "other": "x"},
    }
    mounts = [
        {"name": "memory", "mountPath": "/memory"},
        {"name": "config", "mountPath": "/config", "readOnly": True},
        {"name": "host", "mountPath": "/host"},
        {"name": "shared", "mountPath": "/shared", "subPath": "a/b"},
    ]
    script = """
        echo "user $(id -u):$(id -g) $(id -G)"; cat /config/renamed /host/file /shared/note; echo
        echo "env $A $B $C"; grep db /etc/hosts; grep -c ' /memory tmpfs' /proc/mounts; hostname
        echo written > /memory/x && cat /memory/x
    """
    main = sleeper(
        script=script, volumeMounts=mounts, env=[
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "key"}}},
            {"name": "B", "value": "<$(A)>"},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    )  # fmt: skip
    as_root = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}], "securityContext": {"runAsUser": 0}}
    make = container("make", "/bin/busybox mkdir -p /shared/a/b", **as_root)
    first = container("first", "printf side > /shared/a/b/note", **as_root)
    side = sleeper("side", "echo side runs", restartPolicy="Always")
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": 3,
        "hostname": "named",
        "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["db"]}],
        "securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000]},
        "volumes": [
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "config", "configMap": {"name": "c", "items": [{"key": "other", "path": "renamed"}]}},
            {"name": "host", "hostPath": {"path": str(directory / "host"), "type": "Directory"}},
            {"name": "shared", "emptyDir": {}},
        ],
        "initContainers": [make, first, side],
        "containers": [main],
    }
    return pod, config


def check_failing_init(podwright: CommandLine, directory: Path) -> None:
    """A pod whose init container fails is taken down, and the error has its last words."""
    player = Player(podwright, directory)
    init = container("init", "echo one; echo two; exit 3")
    player.write({"terminationGracePeriodSeconds": 1, "initContainers": [init], "containers": [sleeper()]})
    result = player.play()
    assert result.code == 1
    assert "init container init ended with exit code 3; its last words:\n    one\n    two\n" in result.err
    assert list(player.state.iterdir()) == []
    assert player.name not in podwright.ok("pods")
    init["command"][2] = "echo because > /dev/termination-log; exit 4"
    player.write({"terminationGracePeriodSeconds": 1, "initContainers": [init], "containers": [sleeper()]})
    assert "ended with exit code 4; its last words:\n    because\n" in player.play().err


def check_second_plays(podwright: CommandLine, directory: Path) -> None:
    """A changed manifest and a stopped container are errors that name the way out; what isn't ours is left alone."""
    player = Player(podwright, directory)
    player.write({"terminationGracePeriodSeconds": 1, "containers": [sleeper()]})
    assert player.play().code == 0
    player.write({"terminationGracePeriodSeconds": 2, "containers": [sleeper()]})
    result = player.play()
    assert (result.code, "runs from another version of its manifest" in result.err) == (1, True)
    player.write({"terminationGracePeriodSeconds": 1, "containers": [sleeper()]})
    podwright.ok("stop", "--time", "1", f"{player.name}/main")
    result = player.play()
    assert (result.code, "container main is exited; take it down with --down first" in result.err) == (1, True)
    podwright.ok("stop", player.name)
    result = player.play()
    assert result.code == 0, "a pod that is not ready is replaced"
    assert "removed what was left of an earlier play" in result.out
    player.down()


def check_errors_before_effects(podwright: CommandLine, directory: Path) -> None:
    """What is wrong with the manifest or its images shows before anything is made."""
    player = Player(podwright, directory)
    for fields, message in (
        ({"image": "localhost/none:1"}, "image localhost/none:1 isn't there, and imagePullPolicy is Never"),
        ({"securityContext": {"runAsNonRoot": True}}, "runAsNonRoot: the container would run as root"),
        ({"envFrom": [{"configMapRef": {"name": "x"}}]}, "ConfigMap 'x' isn't in the file"),
        ({"commands": []}, "unknown field; did you mean command?"),
    ):
        player.write({"containers": [sleeper(**fields)]})
        result = player.play()
        assert (result.code, message in result.err) == (1, True), result
        assert not player.state.exists()


def fetch(url: str, timeout_s: float = 5) -> str:
    """A page from a server that may need a moment to listen."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                return str(page.read().decode())
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # noqa: TID251 - no event loop here


def wait_for(condition: Any, explain: Any, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)  # noqa: TID251 - no event loop here
