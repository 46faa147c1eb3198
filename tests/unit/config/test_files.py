from __future__ import annotations

from pathlib import Path

import pytest

from podwright.config.files import ConfigError, load
from podwright.config.schema import default_toml, settings, to_toml


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


def test_drop_ins_flags_and_environment_win_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = write(tmp_path, '[telemetry]\nlog_level = "info"\nlog_format = "json"\n[server]\nmax_send_bytes = 5\n')
    write(tmp_path, '[telemetry]\nlog_level = "debug"\n', "conf.d/10-a.toml")
    write(tmp_path, '[telemetry]\nlog_level = "warning"\n', "conf.d/20-b.toml")
    config = load(main)
    assert (config.telemetry.log_level, config.telemetry.log_format) == ("warning", "json")
    monkeypatch.setenv("PODWRIGHT_TELEMETRY_LOG_LEVEL", "error")
    monkeypatch.setenv("PODWRIGHT_SERVER_MAX_SEND_BYTES", "7")
    config = load(main)
    assert (config.telemetry.log_level, config.server.max_send_bytes) == ("error", 7)
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
