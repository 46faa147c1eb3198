from __future__ import annotations

from pathlib import Path

import pytest

from podwright.config.files import ConfigError, load
from podwright.config.schema import default_toml, settings, to_toml

HANDLER = "[runtime.handlers.x]\npath = 'runc'\n"
# Negative: never.
UNBOUNDED = {"container.exec_hangup_s"}


def write(directory: Path, text: str, name: str = "config.toml") -> Path:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_printed_default_is_the_default(tmp_path: Path) -> None:
    default = load(write(tmp_path, ""))
    assert load(write(tmp_path, default_toml())) == default
    assert load(write(tmp_path, to_toml(default))) == default


def test_every_setting_is_documented() -> None:
    missing = [setting.key for setting in settings() if not setting.help]
    assert not missing


def test_every_number_has_bounds() -> None:
    numbers = {setting.key for setting in settings() if setting.kind in (int, float)}
    assert numbers - {setting.key for setting in settings() if setting.bounds} == UNBOUNDED


def test_bounds_hold_for_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWRIGHT_STREAMING_PORT", "-1")
    with pytest.raises(ConfigError, match=r"environment PODWRIGHT_STREAMING_PORT: .* must be 0 to 65535, not -1"):
        load(write(tmp_path, ""))


def test_drop_ins_flags_and_environment_win_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = write(tmp_path, '[telemetry]\nlog_level = "info"\nlog_format = "json"\n[server]\nmax_send_bytes = 70000\n')
    write(tmp_path, '[telemetry]\nlog_level = "debug"\n', "conf.d/10-a.toml")
    write(tmp_path, '[telemetry]\nlog_level = "warning"\n', "conf.d/20-b.toml")
    config = load(main)
    assert (config.telemetry.log_level, config.telemetry.log_format) == ("warning", "json")
    monkeypatch.setenv("PODWRIGHT_TELEMETRY_LOG_LEVEL", "error")
    monkeypatch.setenv("PODWRIGHT_SERVER_MAX_SEND_BYTES", "80000")
    config = load(main)
    assert (config.telemetry.log_level, config.server.max_send_bytes) == ("error", 80000)
    config = load(main, {"telemetry.log_level": "trace", "server.socket": Path("/tmp/s")})
    assert (config.telemetry.log_level, config.server.socket) == ("trace", Path("/tmp/s"))


def test_tables_of_handlers_merge_over_files(tmp_path: Path) -> None:
    main = write(tmp_path, '[runtime.handlers.mine]\npath = "/usr/bin/mine"\n')
    write(tmp_path, '[runtime.handlers.mine]\noptions = ["--debug"]\n', "conf.d/a.toml")
    handler = load(main).runtime.handlers["mine"]
    assert (handler.path, handler.options) == ("/usr/bin/mine", ("--debug",))
    assert load(write(tmp_path, to_toml(load(main)))).runtime.handlers["mine"] == handler


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\n\nsoket = '/x'\n", r":3: server\.soket: unknown key; did you mean 'socket'\? allowed: socket, "),
        ("[servr]\nsocket = '/x'\n", r":1: servr: unknown key; did you mean 'server'\?"),
        ("[server]\nsocket = 3\n", r":2: server\.socket: must be a path, not 3"),
        ("[server]\nsocket = 'rel/ative'\n", r":2: server\.socket: must be an absolute path"),
        ("[server]\nmax_send_bytes = true\n", r":2: server\.max_send_bytes: must be a whole number, not True"),
        ("[telemetry]\nlog_level = 'loud'\n", r":2: telemetry\.log_level: must be one of 'trace', .*, not 'loud'"),
        ("[network]\nplugin_dirs = '/x'\n", r":2: network\.plugin_dirs: must be a list of .*, not '/x'"),
        ("[network]\nplugin_dirs = ['/x', 3]\n", r":2: network\.plugin_dirs: must be .*, not 3"),
        ("[runtime.handlers.a]\npaht = '/x'\n", r":2: runtime\.handlers\.a\.paht: unknown key; did you mean 'path'"),
        ("[streaming]\nport = 70000\n", r":2: streaming\.port: must be 0 to 65535, not 70000"),
        ("[runtime]\ntimeout_s = 0\n", r":2: runtime\.timeout_s: must be more than 0, not 0\.0"),
        ("[runtime]\ntimeout_s = nan\n", r":2: runtime\.timeout_s: must be more than 0, not nan"),
        ("[container]\nexec_hangup_s = inf\n", r":2: container\.exec_hangup_s: must be finite, not inf"),
        ("[monitor]\nlog_size_max_bytes = 8191\n", r":2: monitor.*: must be 0 or at least 8192, not 8191"),
        ("[telemetry]\nmetrics_address = '9090'\n", r":2: telemetry\.metrics_address: must be HOST:PORT, not '9090'"),
        ("[telemetry]\nmetrics_address = 'a:70000'\n", r":2: telemetry\.metrics_address: must be HOST:PORT"),
        ("[network]\ndefault_bridge = 'sixteen-letters-'\n", r":2: network\.default_bridge: must be a network inter"),
        (HANDLER + "cni_conf_dir = 'cni'\n", r":3: runtime\.handlers\.x\.cni_conf_dir: must be an absolute path"),
        (HANDLER + "overhead_memory_bytes = -1\n", r":3: .*\.x\.overhead_memory_bytes: must be at least 0, not -1"),
        (HANDLER + "options = ['--root=/x']\n", r":3: .*\.x\.options: '--root=/x' is set by Podwright; set root"),
        (HANDLER + "allowed_annotations = ['']\n", r":3: .*\.x\.allowed_annotations: an empty prefix"),
        (HANDLER + "type = 'gvisor'\nwants_sandbox_container = false\n", r":4: .*brings: gvisor needs one"),
        (HANDLER + "snapshotter = 'devmapper'\n", r":3: runtime\.handlers\.x\.snapshotter: unknown key"),
        ("[runtime.handlers.Not_DNS]\n", r"runtime\.handlers: 'Not_DNS' is no handler's name: lower-case letters"),
        ("[server\n", r"config\.toml: not valid TOML: .*line 1"),
        ("server = 3\n", r":1: server: must be a table, not 3"),
    ],
)
def test_errors_name_file_line_key_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, text))


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(tmp_path / "absent.toml")


def test_environment_errors_name_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWRIGHT_SERVER_MAX_SEND_BYTES", "many")
    with pytest.raises(ConfigError, match="PODWRIGHT_SERVER_MAX_SEND_BYTES: must be a whole number"):
        load(write(tmp_path, ""))
