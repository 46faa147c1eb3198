"""Inside the container: from a privileged process of ours to its command, as the configuration's `process` says.

Only what is imported by now may be used: the host's files are out of reach. The order is runc's: what needs privileges
comes before they are dropped, the system call filter comes last, so that it need allow no more than what follows it.
capabilities(7), execve(2), "Transformation of capabilities during execve()".
"""

from __future__ import annotations

import base64
import fcntl
import os
import resource
import signal
import socket
import stat
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from podwright.linux import syscalls as sys
from podwright.linux.capability_sets import CAPABILITY_NAMES
from podwright.nspawn.plan import ProcessPlan

_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_TIOCGPTN, _TIOCSPTLCK, _TIOCGPTPEER = 0x80045430, 0x40045431, 0x5441
_DEFAULT_UMASK = 0o022
_BITS = {name: 1 << bit for bit, name in enumerate(CAPABILITY_NAMES)}


class CommandFailed(Exception):
    """The command can't be executed, in words like runc's. `code` is the shell's for the case."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


class Privileges:
    """What this process may do, read while there is a /proc."""

    def __init__(self) -> None:
        with open("/proc/self/status", "rb") as file:
            lines = dict(line.split(b":\t", 1) for line in file if b":\t" in line)
        self.permitted = int(lines[b"CapPrm"], 16)


def prepare(process: dict[str, Any]) -> Privileges:
    """What is written to /proc, before the container's root comes: it may have none."""
    if (score := process.get("oomScoreAdj")) is not None:
        _write("/proc/self/oom_score_adj", str(score), "process.oomScoreAdj")
    if profile := process.get("apparmorProfile"):
        where = "/proc/self/attr/apparmor/exec"
        where = where if os.access(where, os.F_OK) else "/proc/self/attr/exec"
        _write(where, f"exec {profile}", "process.apparmorProfile")
    return Privileges()


def _write(path: str, value: str, name: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, value.encode())
        os.close(fd)
    except OSError as error:
        raise OSError(error.errno, f"{name}: {value}: {os.strerror(error.errno or 0)}") from error


def become(
    plan: ProcessPlan, privileges: Privileges, wait: Callable[[], object], *, own_console: bool = False
) -> NoReturn:  # fmt: skip
    """`own_console`: a terminal is the container's /dev/console. `wait` is called when nothing is left to do that could
    fail but the execution. Raises CommandFailed, OSError."""
    process = plan.process
    user = process.get("user") or {}
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    if plan.console >= 0:
        _open_terminal(plan.console, process.get("consoleSize") or {}, uid, show=own_console)
    else:
        _give_streams(uid)
    _set_limits(process.get("rlimits") or [])
    _make_directory(process["cwd"])
    wanted = process.get("capabilities") or {}
    _drop_bounding(_mask(wanted.get("bounding")))
    os.umask(user["umask"] if user.get("umask") is not None else _DEFAULT_UMASK)
    os.setgroups(user.get("additionalGids") or [])
    sys.prctl(_PR_SET_KEEPCAPS, 1)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    sys.capset(privileges.permitted, privileges.permitted, 0)
    environment = _environment(process.get("env") or [], uid)
    _change_directory(process["cwd"])
    sys.capset(_mask(wanted.get("effective")) & privileges.permitted, privileges.permitted, 0)
    program = _find(process["args"][0], environment)
    sys.capset(privileges.permitted, privileges.permitted, 0)
    wait()
    _reset_signals()
    if process.get("noNewPrivileges"):
        sys.prctl(sys.PR_SET_NO_NEW_PRIVS, 1)
    if plan.seccomp:
        sys.seccomp_set_filter(base64.b64decode(plan.seccomp))
    _set_capabilities(wanted, privileges.permitted)
    try:
        os.execve(program, process["args"], environment)
    except OSError as error:
        words = (error.strerror or "").lower()
        code = 127 if isinstance(error, FileNotFoundError) else 126
        raise CommandFailed(f"exec {program}: {words}", code) from error


def _open_terminal(connection: int, size: dict[str, int], uid: int, *, show: bool) -> None:
    """A terminal of the container's own devpts; the manager's end is sent over `connection`. ioctl_tty(2)."""
    manager = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(manager, _TIOCSPTLCK, (0).to_bytes(4, "little"))
    number = int.from_bytes(fcntl.ioctl(manager, _TIOCGPTN, bytes(4)), "little")
    theirs = fcntl.ioctl(manager, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    name = f"/dev/pts/{number}"
    if size:
        dimensions = size.get("height", 0).to_bytes(2, "little") + size.get("width", 0).to_bytes(2, "little")
        fcntl.ioctl(manager, termios.TIOCSWINSZ, dimensions + bytes(4))
    sending = socket.socket(fileno=connection)
    socket.send_fds(sending, [name.encode()], [manager])
    sending.close()
    os.close(manager)
    os.fchown(theirs, uid, -1)
    if show:
        _show_console(name)
    try:
        os.setsid()
    except PermissionError:
        pass  # it leads a session already
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(theirs, fd)
    os.close(theirs)


def _show_console(name: str) -> None:
    """config-linux.md, "Default Devices": /dev/console is the terminal."""
    os.close(os.open("/dev/console", os.O_WRONLY | os.O_CREAT | os.O_NOCTTY, 0o600))
    sys.mount(name, "/dev/console", None, sys.MS_BIND)


def _give_streams(uid: int) -> None:
    """Pipes become the user's, who may want to open /dev/stdout. The host's /dev/null is nobody's to give."""
    for fd in (0, 1, 2):
        found = os.fstat(fd)
        if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
            try:
                os.fchown(fd, uid, -1)
            except PermissionError:
                continue


def _set_limits(limits: list[dict[str, Any]]) -> None:
    for limit in limits:
        number = getattr(resource, limit["type"], None)
        if number is None:
            raise OSError(22, f"process.rlimits: {limit['type']} is no limit")
        try:
            resource.setrlimit(number, (_signed(limit["soft"]), _signed(limit["hard"])))
        except (OSError, ValueError) as error:
            raise OSError(1, f"process.rlimits: {limit['type']} {limit['soft']}:{limit['hard']}: {error}") from error


def _signed(value: int) -> int:
    """RLIM_INFINITY is 2**64-1 to the kernel and -1 to Python."""
    return value if value < 1 << 63 else value - (1 << 64)


def _make_directory(path: str) -> None:
    try:
        Path(path).mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError:
        return  # the change to it has the better words


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
        here = str(Path.cwd())
    except OSError as error:
        raise OSError(error.errno, f"process.cwd: {path}: {os.strerror(error.errno or 0)}") from error
    if not here.startswith("/"):
        raise OSError(1, f"process.cwd: {path} is not below the container's root")


def _mask(names: list[str] | None) -> int:
    mask = 0
    for name in names or ():
        mask |= _BITS.get(name.upper(), 0)
    return mask


def _drop_bounding(kept: int) -> None:
    for bit in range(64):
        if not kept >> bit & 1:
            try:
                sys.prctl(sys.PR_CAPBSET_DROP, bit)
            except OSError:
                return  # beyond the kernel's last one


def _set_capabilities(wanted: dict[str, list[str]], permitted: int) -> None:
    """The sets; what this process has not got it can't give."""
    allowed = _mask(wanted.get("permitted")) & permitted
    inheritable = _mask(wanted.get("inheritable")) & permitted
    sys.capset(_mask(wanted.get("effective")) & allowed, allowed, inheritable)
    ambient = _mask(wanted.get("ambient")) & allowed & inheritable
    for bit in range(64):
        if ambient >> bit & 1:
            sys.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, bit)


def _environment(pairs: list[str], uid: int) -> dict[str, str]:
    found = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if not found.get("HOME"):
        found["HOME"] = _home(uid)
    return found


def _home(uid: int) -> str:
    """As runc and crun have it."""
    try:
        with open("/etc/passwd", "rb") as file:
            for line in file.read(1 << 20).splitlines():
                fields = line.split(b":")
                if len(fields) >= 6 and fields[2] == b"%d" % uid:
                    return os.fsdecode(fields[5]) or "/"
    except OSError:
        return "/"
    return "/"


def _find(name: str, environment: dict[str, str]) -> str:
    """The program, as execvp(3) finds it. Raises CommandFailed."""
    if "/" in name:
        return _checked(name)
    for directory in environment.get("PATH", "").split(":"):
        path = Path(directory or ".", name)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise CommandFailed(f'exec: "{name}": executable file not found in $PATH', 127)


def _checked(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        code = 126 if isinstance(error, PermissionError) else 127
        raise CommandFailed(f'exec: "{path}": stat {path}: {(error.strerror or "").lower()}', code) from error
    if stat.S_ISDIR(found.st_mode):
        raise CommandFailed(f'exec: "{path}": is a directory', 126)
    if not os.access(path, os.X_OK):
        raise CommandFailed(f'exec: "{path}": permission denied', 126)
    return path


def _reset_signals() -> None:
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue  # the C library's own
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
