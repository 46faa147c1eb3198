"""A runtime whose `checkpoint` and `restore` are ours, at the boundary of the process, everything else being runc's.

So faults of CRIU can be had at will, on machines whose kernel Debian's CRIU doesn't know as well. What it "dumps"
is what the tests look for in archives; a file `gate` holds it up for as long as it is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess  # noqa: TID251 - asks the runtime, as a person would
from pathlib import Path

from tests.support.daemon import Daemon

RUNTIME = """#!/bin/sh
here={here}
verb= previous=
for word in "$@"; do
    case "$previous" in
    --root) root=$word ;;
    --image-path) images=$word ;;
    --work-path) work=$word ;;
    esac
    case "$previous" in --bundle) bundle=$word ;; --pid-file) pid_file=$word ;; esac
    case "$word" in checkpoint | restore) verb=$word ;; resume) test ! -e $here/stuck || exit 1 ;; esac
    previous=$word
done
test "$verb" || exec {runc} "$@"
id=$previous
if test $verb = restore; then
    cat "$images/pages-1.img" > "$bundle/restored"
    . $here/restores
    {runc} --root "$root" create --bundle "$bundle" --pid-file "$pid_file" "$id" || exit
    exec {runc} --root "$root" start "$id"
fi
for one in "$root"/*; do
    {runc} --root "$root" state "$(basename "$one")"
done | sed -n 's/.*"status": "\\(.*\\)".*/\\1/p' | tr '\\n' ' ' >> $here/states
echo >> $here/states
echo "pages of $id" > "$images/pages-1.img"
echo "(00.1) Error (criu/mem.c:1): the pages are stuck" > "$work/dump.log"
echo statistics > "$work/stats-dump"
while test -e $here/gate; do sleep 0.02; done
{deed}
"""
RESTORE = "[checkpoint]\nrestore = true\n"
CRIU = "#!/bin/sh\nexit 0\n"


def criu_daemon(directory: Path, *, deed: str = "", criu: str = CRIU, config: str = RESTORE) -> Daemon:
    """A daemon with that runtime; `deed` is what `checkpoint` ends with, `criu` the program for `criu check`."""
    place = directory / "programs"
    place.mkdir()
    for name, text in (("runc", RUNTIME.format(here=place, deed=deed, runc=shutil.which("runc"))), ("criu", criu)):
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    (place / "restores").touch()
    daemon = Daemon(directory, runtime="fake", config=f'[runtime.handlers.fake]\npath = "{place}/runc"\n{config}')
    daemon.extra_environment = {"PATH": f"{place}:{os.environ['PATH']}"}
    return daemon


def place(daemon: Daemon) -> Path:
    """Where the programs are."""
    return daemon.directory / "programs"


def runtime_status(daemon: Daemon, container: str) -> str:
    """What runc says: running, paused."""
    words = ["runc", "--root", str(daemon.run / "runtime" / "fake"), "state", container]
    return str(json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["status"])


def under_way(daemon: Daemon) -> list[str]:
    """What checkpoints have on disk."""
    top = daemon.root / "checkpoints"
    return [path.name for path in top.iterdir()] if top.exists() else []
