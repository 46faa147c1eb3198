"""One run of one plugin, and what its failures are called."""

from __future__ import annotations

import pytest

from podwright.base.errors import DeadlineExceeded, NotFound
from podwright.network.plugins import PluginFailed, PluginMissing, Plugins
from tests.unit.network.fakes import FakePlugins

REQUEST = {"type": "ptp", "name": "net", "cniVersion": "1.0.0"}


def runner(plugins: FakePlugins, timeout_s: float = 10.0) -> Plugins:
    return Plugins(["/nonexistent", str(plugins.bin)], timeout_s=timeout_s)


async def test_input_environment_and_result(plugins: FakePlugins) -> None:
    plugins.install("ptp", {"cniVersion": "1.0.0"})
    answer = await runner(plugins).run("ADD", REQUEST, {"CNI_IFNAME": "eth0"})
    assert answer == {"cniVersion": "1.0.0"}
    assert plugins.stdin("ptp", "ADD") == REQUEST
    assert plugins.env("ptp", "ADD") == {
        "CNI_COMMAND": "ADD", "CNI_IFNAME": "eth0", "CNI_PATH": f"/nonexistent:{plugins.bin}",
    }  # fmt: skip


async def test_no_result_where_none_belongs(plugins: FakePlugins) -> None:
    plugins.install("ptp")
    assert await runner(plugins).run("ADD", REQUEST, {}) is None
    plugins.script("ptp", "DEL", "echo noise")
    assert await runner(plugins).run("DEL", REQUEST, {}) is None


async def test_a_missing_plugin_says_where_it_was_looked_for_and_what_brings_it(plugins: FakePlugins) -> None:
    with pytest.raises(PluginMissing) as caught:
        await runner(plugins).run("ADD", REQUEST, {}, file="/etc/cni/net.d/10.conflist")
    assert str(caught.value) == (
        f"CNI plugin 'ptp' of network 'net' (/etc/cni/net.d/10.conflist) is not in /nonexistent, {plugins.bin}: "
        "install the package containernetworking-plugins, or set network.plugin_dirs"
    )
    # The kubelet takes NotFound from StopPodSandbox for success.
    assert not isinstance(caught.value, NotFound)
    with pytest.raises(PluginMissing, match="network add-on"):
        runner(plugins).find("calico")


async def test_the_plugins_own_error(plugins: FakePlugins) -> None:
    plugins.install("ptp")
    plugins.fail("ptp", "ADD", cniVersion="1.0.0", code=7, msg="bad subnet", details="10.x")
    with pytest.raises(PluginFailed) as caught:
        await runner(plugins).run("ADD", REQUEST, {}, file="/f")
    assert str(caught.value) == (
        "CNI plugin 'ptp' of network 'net' (/f): ADD failed: bad subnet: 10.x (code 7: invalid network configuration)"
    )
    assert (caught.value.plugin, caught.value.verb, caught.value.network, caught.value.code) == ("ptp", "ADD", "net", 7)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo broken >&2; exit 3", "exit status 3: broken"),
        ("echo broken; exit 3", "exit status 3: broken"),
        ("exit 4", "exit status 4, without a word"),
        ("kill -9 $$", "signal 9"),
        ("echo '[1]'; exit 1", r"exit status 1: \[1\]"),
        ('echo \'{"code": 111, "msg": "mine"}\'; exit 1', "failed: mine$"),
    ],
)
async def test_other_failures(plugins: FakePlugins, script: str, words: str) -> None:
    plugins.install("ptp")
    plugins.script("ptp", "ADD", script)
    with pytest.raises(PluginFailed, match=words):
        await runner(plugins).run("ADD", REQUEST, {})


async def test_a_result_that_is_no_object(plugins: FakePlugins) -> None:
    plugins.install("ptp")
    plugins.script("ptp", "ADD", "echo '[]'; exit 0")
    with pytest.raises(PluginFailed, match="not a JSON object"):
        await runner(plugins).run("ADD", REQUEST, {})


async def test_a_plugin_that_hangs_is_killed(plugins: FakePlugins) -> None:
    plugins.install("ptp")
    plugins.script("ptp", "ADD", "sleep 100 & wait")
    with pytest.raises(DeadlineExceeded, match=r"'ptp' .*: ADD did not end within 0\.2 s and was killed"):
        await runner(plugins, timeout_s=0.2).run("ADD", REQUEST, {})


async def test_a_program_that_can_not_run(plugins: FakePlugins) -> None:
    plugins.install("ptp")
    (plugins.bin / "ptp").write_text("#!/nonexistent/interpreter\n")
    with pytest.raises(PluginMissing, match="No such file"):
        await runner(plugins).run("ADD", REQUEST, {})
