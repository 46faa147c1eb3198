"""crun and user namespaces: keep the host's /dev/null out of its hands.

Before it enters a user namespace, crun up to 1.23 makes the namespace's root the owner of its standard streams. One
that is /dev/null is the host's own device: a container's root could then close it to the whole machine. So `create`
gets the read end of a pipe instead, whose other end is closed: it reads as empty, as /dev/null does.
https://github.com/containers/crun/issues/1845
"""

from __future__ import annotations

from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.linux.process import find_program
from podwright.runtime.base import RuntimeCommand

# sh(1): a here-document without content. The program and its arguments are the shell's, never part of the script.
_SCRIPT = 'exec "$0" "$@" <<END\nEND\n'


def guarded(command: RuntimeCommand) -> RuntimeCommand:
    """`command` with an empty pipe for its standard input. Raises FailedPrecondition where there is no shell."""
    shell = find_program("sh")
    if shell is None:
        raise FailedPrecondition("crun and user namespaces need a shell: install dash")
    return RuntimeCommand(Path(shell), ("-c", _SCRIPT, str(command.path), *command.global_args))
