"""CNI results: from any version's JSON to ours, and from one version to another for the next plugin. Pure.

0.1 and 0.2 have `ip4` and `ip6`; 0.3 and 0.4 a list `ips` with `version` 4 or 6 in each; 1.0 and newer without.
SPEC.md, "Result Types".
"""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from podwright.base.errors import Internal
from podwright.network.base import INTERFACE, Executed, Interface, NetworkResult, ResultDns, Route
from podwright.network.conflist import version_of

_LISTS_SINCE = (0, 3, 0)
_WITHOUT_FAMILY_SINCE = (1, 0, 0)

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class _Address(msgspec.Struct):
    address: str
    gateway: str = ""
    interface: int | None = None


class _Result(msgspec.Struct):
    ips: tuple[_Address, ...] | None = None
    interfaces: tuple[Interface, ...] | None = None
    routes: tuple[Route, ...] | None = None
    dns: ResultDns | None = None


class _OldAddress(msgspec.Struct):
    ip: str
    gateway: str = ""
    routes: tuple[Route, ...] = ()


class _OldResult(msgspec.Struct):
    ip4: _OldAddress | None = None
    ip6: _OldAddress | None = None


def convert(result: dict[str, Any], version: str) -> dict[str, Any]:
    """A result as a plugin of `version` wants it for `prevResult`. Unknown keys are kept where the shape allows.

    Raises Internal when it has to be converted and is not of the shape of its own version.
    """
    given = str(result.get("cniVersion", "")) or version
    if given == version:
        return {**result, "cniVersion": version}
    try:
        return _convert(_without_nulls(result), version_of(given), version)
    except (msgspec.ValidationError, ValueError) as error:
        raise Internal(f"a CNI plugin's result of version {given!r} can't be understood: {error}") from error


def _convert(result: dict[str, Any], given: tuple[int, ...], version: str) -> dict[str, Any]:
    msgspec.convert(result, _OldResult if given < _LISTS_SINCE else _Result)
    modern = _to_lists(result) if given < _LISTS_SINCE else dict(result)
    modern["cniVersion"] = version
    if version_of(version) < _LISTS_SINCE:
        return _from_lists(modern)
    addresses = [{k: v for k, v in entry.items() if k != "version"} for entry in modern.get("ips", ())]
    if version_of(version) < _WITHOUT_FAMILY_SINCE:
        addresses = [{"version": str(_family(entry)), **entry} for entry in addresses]
    return {**modern, "ips": addresses}


def parse(result: dict[str, Any], executed: Executed) -> NetworkResult:
    """What the pod got, from the last plugin's result. Raises Internal when it holds no address for the pod."""
    modern = convert(result, "1.0.0")
    try:
        decoded = msgspec.convert(_without_nulls(modern), _Result)
        found = addresses(modern)
    except (msgspec.ValidationError, ValueError) as error:
        raise Internal(f"network {executed.network!r}: its plugins' result can't be understood: {error}") from error
    if not found:
        raise Internal(f"network {executed.network!r}: its plugins succeeded, but gave the pod no address")
    ips = tuple(str(address.ip) for address in found)
    return NetworkResult(ips, executed, decoded.interfaces or (), decoded.routes or (), decoded.dns or ResultDns())


def addresses(result: dict[str, Any]) -> list[Address]:
    """The pod's addresses with the networks they are in, out of a result that `parse` has understood."""
    decoded = msgspec.convert(_without_nulls(convert(result, "1.0.0")), _Result)
    return [ipaddress.ip_interface(entry.address) for entry in _pod_addresses(decoded)]


def _pod_addresses(result: _Result) -> list[_Address]:
    """Addresses of the pod's own interface; those that name no interface count as its."""
    interfaces = result.interfaces or ()

    def inside(entry: _Address, *, name: str) -> bool:
        if entry.interface is None or not 0 <= entry.interface < len(interfaces):
            return True
        interface = interfaces[entry.interface]
        return bool(interface.sandbox) and name in ("", interface.name)

    addresses = list(result.ips or ())
    return [entry for entry in addresses if inside(entry, name=INTERFACE)] or [
        entry for entry in addresses if inside(entry, name="")
    ]


def _to_lists(result: dict[str, Any]) -> dict[str, Any]:
    """From 0.1 and 0.2."""
    ips: list[dict[str, Any]] = []
    routes: list[dict[str, Any]] = []
    for key in ("ip4", "ip6"):
        entry = result.get(key)
        if isinstance(entry, dict):
            ips.append({"address": entry.get("ip", ""), "gateway": entry.get("gateway", "")})
            routes += entry.get("routes", ())
    kept = {key: value for key, value in result.items() if key not in ("ip4", "ip6")}
    return {**kept, "ips": ips, "routes": routes}


def _from_lists(result: dict[str, Any]) -> dict[str, Any]:
    """To 0.1 and 0.2, which have room for one address a family and none for interfaces."""
    old: dict[str, Any] = {"cniVersion": result["cniVersion"]}
    if "dns" in result:
        old["dns"] = result["dns"]
    for entry in result.get("ips") or ():
        family = _family(entry)
        if f"ip{family}" not in old:
            routes = [r for r in result.get("routes") or () if ipaddress.ip_network(r["dst"]).version == family]
            old[f"ip{family}"] = {"ip": entry["address"], "gateway": entry.get("gateway", ""), "routes": routes}
    return old


def _family(entry: dict[str, Any]) -> int:
    return 6 if ":" in str(entry.get("address", "")) else 4


def _without_nulls(value: Any) -> Any:
    """Go writes null for an empty pointer; absent means the same."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
