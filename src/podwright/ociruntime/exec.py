"""`exec`: a further process in a container, from a file of its own or from the container's with changes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.linux import syscalls
from podwright.oci.runtime_spec import Capabilities, Process, User
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.attended import signals_held, wait
from podwright.ociruntime.base import Call, ExecRequest, Program
from podwright.ociruntime.bundle import check_process
from podwright.ociruntime.create import write_pid
from podwright.ociruntime.record import Container
from podwright.ociruntime.status import require


def run(call: Call, program: Program, arguments: Arguments) -> int:
    container = call.containers.read(arguments.words[0])
    require(container, program, "exec in", "running", *(("paused",) if arguments.on("ignore-paused") else ()))
    process, detach = _process(container, arguments), arguments.on("detach")
    request = ExecRequest(
        process, arguments.value("console-socket"), arguments.number("preserve-fds") or 0, detach=detach
    )
    if process.terminal and not request.console_socket:
        raise InvalidArgument("a terminal needs somebody to carry it: give --console-socket")
    if detach:
        _start(program, container, request, arguments)
        return 0
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    with signals_held():
        return wait(_start(program, container, request, arguments))


def _start(program: Program, container: Container, request: ExecRequest, arguments: Arguments) -> int:
    pid = program.exec(container, request)
    if arguments.value("pid-file"):
        write_pid(arguments.value("pid-file"), pid)
    return pid


def _process(container: Container, arguments: Arguments) -> Process:
    path = arguments.value("process")
    process = _read(Path(path)) if path else _changed(container.spec.process, arguments)
    check_process(process.args, process.cwd)
    return process


def _read(path: Path) -> Process:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Process)
    except OSError as error:
        raise InvalidArgument(f"{path} can't be read: {error.strerror}", field="--process") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} describes no process: {error}", field="--process") from error


def _changed(process: Process, arguments: Arguments) -> Process:
    """The container's own process with what the options say; runc-exec(8)."""
    process.args, process.terminal = arguments.words[1:], arguments.on("tty")
    process.cwd = arguments.value("cwd") or process.cwd
    process.env = [*process.env, *arguments.values("env")]
    process.no_new_privileges = process.no_new_privileges or arguments.on("no-new-privs")
    process.apparmor_profile = arguments.value("apparmor") or process.apparmor_profile
    process.selinux_label = arguments.value("process-label") or process.selinux_label
    if arguments.value("user"):
        process.user = _user(arguments.value("user"))
    if groups := arguments.values("additional-gids"):
        process.user.additional_gids = [_number(gid, "--additional-gids") for gid in groups]
    for name in arguments.values("cap"):
        sets = process.capabilities = process.capabilities or Capabilities()
        for each in (sets.bounding, sets.effective, sets.permitted):
            each.append(name)
    return process


def _user(words: str) -> User:
    uid, _, gid = words.partition(":")
    return User(uid=_number(uid, "--user"), gid=_number(gid or "0", "--user"))


def _number(word: str, option: str) -> int:
    if not word.isdigit():
        raise InvalidArgument(f"{word!r} is no number", field=option)
    return int(word)
