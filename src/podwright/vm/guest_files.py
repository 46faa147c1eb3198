"""The files of the guest's first file system: the agent and all that it needs, found by asking the host's programs.

The interpreter lists the modules that it has loaded when the agent is imported; the dynamic linker the libraries of
each program. Python's sources are left out: only their compiled form goes in, without docstrings.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from podwright.base.errors import InvalidArgument, NotFound
from podwright.guest.modprobe import INDEX, LATER
from podwright.linux.process import ProcessFailed, run
from podwright.vm.cpio import Entry
from podwright.vm.guest_kernel import module_content

AGENT = "podwright.guest.init"
MODPROBE = "podwright.guest.modprobe"
_AGENT_ROOT = "/agent"
_LIBRARIES = "/lib"
# Loaded by name when they are needed, so that importing the agent doesn't show them.
_LATE = ("encodings.idna", "encodings.ascii", "encodings.latin_1")
_LIST = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
paths = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
frozen = [n for n, m in sys.modules.items() if getattr(getattr(m, "__spec__", None), "origin", "") == "frozen"]
print(json.dumps({"modules": paths, "path": sys.path[1:], "prefix": sys.prefix}))
"""
_PROGRAM = """#!{python} -ISB
import sys
sys.path.insert(0, {root!r})
from {agent} import main
main()
"""


async def guest_files(python: Path, modules: dict[str, bytes]) -> dict[str, Entry]:
    """Entries by path. `modules`: the kernel's, by names that give their order.

    Raises NotFound for a program that is missing and InvalidArgument for an interpreter that can't run the agent.
    """
    if not os.access(python, os.X_OK):
        raise NotFound(f"{python} is missing, which virtual machines need: install python3-minimal")
    interpreter = python.resolve()
    entries = {f"/modules/{name}": Entry(content) for name, content in modules.items()}
    for path, agent in (("/init", AGENT), ("/sbin/modprobe", MODPROBE)):
        program = _PROGRAM.format(python=interpreter, root=_AGENT_ROOT, agent=agent)
        entries[path] = Entry(program.encode(), executable=True)
    python_files = await _python_modules(interpreter)
    entries |= python_files
    entries[str(interpreter)] = Entry(interpreter.read_bytes(), executable=True)
    programs = [interpreter, *(Path(path) for path in python_files if path.endswith(".so"))]
    return entries | await _libraries(programs)


def modules_for_later(files: Mapping[str, Sequence[Path]]) -> dict[str, Entry]:
    """For `podwright.guest.modprobe`, with its index. `files`: of each name, in the order in which they are loaded."""
    paths = {path for order in files.values() for path in order}
    lines = [" ".join([name, *(_plain_name(path) for path in order)]) for name, order in sorted(files.items())]
    entries = {f"{LATER}/{_plain_name(path)}": Entry(module_content(path)) for path in sorted(paths)}
    return entries | {INDEX: Entry("".join(f"{line}\n" for line in lines).encode())}


def _plain_name(path: Path) -> str:
    return f"{path.name.split('.')[0]}.ko"


async def _python_modules(interpreter: Path) -> dict[str, Entry]:
    root = Path(str(files("podwright"))).parent
    try:
        done = await run([interpreter, "-ISB", "-c", _LIST, root, AGENT, MODPROBE, *_LATE])
    except ProcessFailed as error:
        raise InvalidArgument(
            f"{interpreter} can't run the guest's agent: Python 3.11 or newer is needed: {error}"
        ) from error
    listed: dict[str, str | None] = json.loads(done.stdout)["modules"]
    entries: dict[str, Entry] = {}
    sources: list[tuple[str, str]] = []
    for source in {path for path in listed.values() if path}:
        target = f"{_AGENT_ROOT}/{Path(source).relative_to(root)}" if source.startswith(f"{root}/") else source
        if source.endswith(".py"):
            sources.append((source, target))
        else:
            entries[target] = Entry(Path(source).read_bytes())
    return entries | await _compiled(interpreter, sources)


async def _compiled(interpreter: Path, sources: list[tuple[str, str]]) -> dict[str, Entry]:
    """By the interpreter that will load them; its name is in each. PEP 3147, "sourceless imports"."""
    with tempfile.TemporaryDirectory(prefix="podwright-guest-") as directory:
        wanted = [(source, f"{directory}/{number}", target) for number, (source, target) in enumerate(sources)]
        program = (
            "import json, py_compile, sys\n"
            "for source, compiled, name in json.load(sys.stdin):\n"
            "    py_compile.compile(source, compiled, name, doraise=True, optimize=2,\n"
            "        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)\n"
        )
        await run([interpreter, "-IS", "-c", program], stdin=json.dumps(wanted).encode())
        return {f"{target}c": Entry(Path(compiled).read_bytes()) for _, compiled, target in wanted}


async def _libraries(programs: list[Path]) -> dict[str, Entry]:
    """What the dynamic linker finds, each by the name it is asked for, and the linker itself. ldd(1)."""
    entries: dict[str, Entry] = {}
    for line in (await run(["ldd", *programs])).stdout.decode().splitlines():
        words = line.split()
        if "=>" in words and words[2:3] and words[2].startswith("/"):
            entries[f"{_LIBRARIES}/{words[0]}"] = Entry(Path(words[2]).read_bytes(), executable=True)
        elif words and words[0].startswith("/") and len(words) == 2:
            entries[words[0]] = Entry(Path(words[0]).read_bytes(), executable=True)
    return entries
