"""The pod network: CNI configuration and plugins, and the kernel's settings that forwarding depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from podwright.cli.checks.finding import Finding, fail, ok, warn
from podwright.linux.nftables import Nftables
from podwright.network.base import Settings
from podwright.network.capabilities import port_mapper
from podwright.network.conflist import ConfDir, Conflist

# What the built-in network is made of.
_BUILT_IN = ("bridge", "host-local")
_PACKAGE = "apt-get install containernetworking-plugins"


def findings(settings: Settings) -> Iterator[Finding]:
    """All of this file."""
    directory = ConfDir(settings.conf_dir)
    current = directory.current()
    for problem in directory.problems:
        yield warn("CNI configuration", problem, "mend or remove the file; the next one is used")
    yield configuration(current, settings, nothing_valid=current is None and not directory.empty)
    wanted = plugins_of(current) if current else _BUILT_IN if settings.default_network == "bridge" else ()
    yield plugins(wanted, [Path(directory) for directory in settings.plugin_dirs])
    yield host_ports(current)
    yield forwarding(Path("/proc/sys/net/ipv4/ip_forward"))
    yield bridge_netfilter(Path("/proc/sys/net/bridge"))


def configuration(current: Conflist | None, settings: Settings, *, nothing_valid: bool) -> Finding:
    """Which network pods get."""
    if current is not None:
        return ok("CNI configuration", f"network {current.name} from {current.file}")
    if nothing_valid:
        return fail("CNI configuration", f"no file in {settings.conf_dir} is valid", "mend what is named above")
    if settings.default_network == "bridge":
        return ok("CNI configuration", f"none in {settings.conf_dir}: pods get the built-in bridge network")
    return fail(
        "CNI configuration", f"none in {settings.conf_dir}",
        "install a network for Kubernetes, or set network.default_network to bridge",
    )  # fmt: skip


def plugins_of(network: Conflist) -> Sequence[str]:
    """The programs that a network runs, those for addresses included."""
    types = []
    for plugin in network.plugins:
        types.append(str(plugin.get("type", "")))
        ipam = plugin.get("ipam")
        if isinstance(ipam, dict) and ipam.get("type"):
            types.append(str(ipam["type"]))
    return list(dict.fromkeys(types))


def plugins(wanted: Sequence[str], directories: Sequence[Path]) -> Finding:
    """Whether the programs are there."""
    missing = [name for name in wanted if not any((directory / name).is_file() for directory in directories)]
    where = ", ".join(map(str, directories))
    if missing:
        return fail("CNI plugins", f"{', '.join(missing)} not in {where}", _PACKAGE)
    return ok("CNI plugins", ", ".join(wanted) or "none needed")


def host_ports(network: Conflist | None) -> Finding:
    """Who maps them."""
    if network and (plugin := port_mapper(network.plugins)):
        return ok("host ports", f"by the CNI plugin {plugin}")
    if Nftables().available:
        return ok("host ports", "by nftables rules of our own")
    return warn("host ports", "pods that ask for one fail: there is no libnftables", "apt-get install nftables")


def forwarding(setting: Path) -> Finding:
    """Whether the kernel forwards packets between pods and the world. The bridge plugin switches it on."""
    try:
        on = setting.read_text().strip() == "1"
    except OSError:
        return warn("ip_forward", "can't be read", "")
    if on:
        return ok("ip_forward", "on")
    return warn("ip_forward", "off: pods reach only this host", "sysctl -w net.ipv4.ip_forward=1")


def bridge_netfilter(directory: Path) -> Finding:
    """Whether packets on a bridge pass the rules of iptables: Services between pods of a node need it."""
    try:
        on = (directory / "bridge-nf-call-iptables").read_text().strip() == "1"
    except OSError:
        return warn("br_netfilter", "not loaded: kube-proxy's Services fail within a node", "modprobe br_netfilter")
    if on:
        return ok("br_netfilter", "on")
    return warn(
        "br_netfilter", "off: kube-proxy's Services fail within a node",
        "sysctl -w net.bridge.bridge-nf-call-iptables=1",
    )  # fmt: skip
