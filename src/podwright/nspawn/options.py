"""From a configuration to the command line of systemd-nspawn and its environment. Pure. systemd-nspawn(1).

What nspawn has no option for, or one that knows less than the configuration, is the first step's: mounts, users,
capabilities, system call filters. docs/ENVIRONMENT.md of systemd describes the variables.
"""

from __future__ import annotations

from collections.abc import Iterable

from podwright.oci.runtime_spec import Namespace

_SHARED = {
    "ipc": "SYSTEMD_NSPAWN_SHARE_NS_IPC",
    "uts": "SYSTEMD_NSPAWN_SHARE_NS_UTS",
    "pid": "SYSTEMD_NSPAWN_SHARE_NS_PID",
}


def options(stage: str, machine: str, namespaces: Iterable[Namespace], shown: dict[str, str]) -> list[str]:
    """`shown`: host directories by where the stage has them, read-only."""
    found = [
        f"--directory={stage}", f"--machine={machine}", "--register=no", "--keep-unit", "--quiet", "--console=pipe",
        "--settings=no", "--link-journal=no", "--timezone=off", "--resolv-conf=off", "--capability=all",
    ]  # fmt: skip
    found += [f"--bind-ro={_escaped(source)}:{_escaped(target)}" for target, source in shown.items()]
    network = next((namespace for namespace in namespaces if namespace.type == "network"), None)
    if network is not None:
        found.append(f"--network-namespace-path={network.path}" if network.path else "--private-network")
    return found


def environment(namespaces: Iterable[Namespace]) -> dict[str, str]:
    """A namespace that nspawn is not to make is the one that it is started in: the host's, or one that was joined."""
    made = {namespace.type for namespace in namespaces if not namespace.path}
    return {
        "SYSTEMD_LOG_TARGET": "console", "SYSTEMD_LOG_LEVEL": "err", "SYSTEMD_LOG_COLOR": "0",
        "SYSTEMD_NSPAWN_TMPFS_TMP": "0", "SYSTEMD_SECCOMP": "0", "LC_ALL": "C",
        **{variable: "1" for kind, variable in _SHARED.items() if kind not in made},
    }  # fmt: skip


def joined(namespaces: Iterable[Namespace]) -> list[str]:
    """Paths of the IPC and UTS namespaces that nspawn is started in, because it has no option to join them."""
    return [namespace.path for namespace in namespaces if namespace.path and namespace.type in ("ipc", "uts")]


def joined_pid(namespaces: Iterable[Namespace]) -> str:
    """The path of the PID namespace that nspawn is started in; '' for none."""
    return next((namespace.path for namespace in namespaces if namespace.type == "pid"), "")


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:")
