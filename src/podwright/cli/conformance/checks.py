"""The checks: a life from create to delete, and what has to be refused. OCI runtime specification, runtime.md.

Each is a function that gets a bench without containers. It raises Failed with what is wrong, Unsupported for an
optional verb that the runtime lacks, or returns what is worth telling.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import closing

import msgspec

from podwright.base.errors import PodwrightError
from podwright.cli.conformance.bench import MEMORY_BYTES, Bench, Failed, process, said
from podwright.linux.process import Completed, readable
from podwright.oci.runtime_spec import Cpu, LinuxResources, Memory

Check = Callable[[Bench], Awaitable[str]]

UPDATED_BYTES = 32 << 20
IS_TERMINAL = "test -t 0 && test -t 1 && echo a terminal; sleep 1000"
CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Register a check under the name that the report has for it."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


def expect(condition: object, otherwise: str) -> None:
    """Raises Failed unless."""
    if not condition:
        raise Failed(otherwise)


@check("version")
async def version(bench: Bench) -> str:
    return (await bench.ok("--version")).stdout.decode(errors="replace").splitlines()[0]


@check("features")
async def features(bench: Bench) -> str:
    document = msgspec.json.decode((await bench.optional("features")).stdout)
    expect(isinstance(document, dict) and "ociVersionMax" in document, "no ociVersionMax in it")
    return f"specification up to {document['ociVersionMax']}"


@check("create")
async def create(bench: Bench) -> str:
    container = await bench.created()
    state = await bench.state(container)
    expect(state.get("id") == container, f"state has the id {state.get('id')!r}")
    expect(state.get("status") == "created", f"its status is {state.get('status')!r}")
    expect(state.get("ociVersion"), "state has no ociVersion")
    expect(str(state.get("bundle")).endswith(container), f"state has the bundle {state.get('bundle')!r}")
    expect(not bench.started(container), "its command has begun before start")
    return ""


@check("pid file")
async def pid_file(bench: Bench) -> str:
    container = await bench.created()
    written, told = (bench.bundle(container) / "pid").read_text(), (await bench.state(container)).get("pid")
    expect(written == str(told), f"the file has {written!r}, state {told!r}")
    return ""


@check("start")
async def start(bench: Bench) -> str:
    container = await bench.running()
    status = await bench.status(container)
    expect(status == "running", f"its status is {status!r}")
    return ""


@check("end by itself")
async def end(bench: Bench) -> str:
    await bench.stopped()
    return ""


@check("annotations in state")
async def state_annotations(bench: Bench) -> str:
    found = (await bench.state(await bench.created())).get("annotations")
    expect(isinstance(found, dict) and found.get("org.podwright.check") == "yes", f"state has {found!r}")
    return ""


@check("list")
async def listed(bench: Bench) -> str:
    container = await bench.running()
    answer = (await bench.optional("list", "--format", "json")).stdout
    expect(container.encode() in answer, "it does not show the container")
    return ""


@check("cgroup")
async def cgroup(bench: Bench) -> str:
    limit = await _limit(bench, await bench.running())
    expect(limit == MEMORY_BYTES, f"the memory limit is {limit}")
    return ""


@check("exec")
async def execute(bench: Bench) -> str:
    container = await bench.running()
    done = await _exec(bench, container, "/bin/sh", "-c", "echo out; echo err >&2; exit 5")
    expect(done.returncode == 5, f"exit status {done.returncode}, not 5: {said(done)}")
    expect(done.stdout == b"out\n", f"stdout is {done.stdout[:80]!r}")
    expect(done.stderr == b"err\n", f"stderr is {done.stderr[:80]!r}")
    return ""


@check("exec: pid file")
async def exec_pid_file(bench: Bench) -> str:
    container = await bench.running()
    path = bench.bundle(container) / "exec.pid"
    done = await _exec(bench, container, "/bin/sleep", "1000", options=("--detach", "--pid-file", str(path)))
    expect(done.returncode == 0, f"exec --detach failed: {said(done)}")
    expect(path.exists() and path.read_text().strip().isdigit(), "no pid in the file")
    return ""


@check("terminal")
async def terminal(bench: Bench) -> str:
    container = bench.new("/bin/sh", "-c", IS_TERMINAL, terminal=True)
    with closing(bench.console(container)) as console:
        done = await bench.create(container, "--console-socket", str(console.path))
        expect(done.returncode == 0, f"create --console-socket failed: {said(done)}")
        await bench.start(container)
        await _expect_on_terminal(await console.receive())
    return ""


@check("exec in a terminal")
async def exec_terminal(bench: Bench) -> str:
    container = await bench.running()
    path = bench.bundle(container) / "process.json"
    path.write_bytes(msgspec.json.encode(process("/bin/sh", "-c", IS_TERMINAL, terminal=True)))
    with closing(bench.console(container)) as console:
        options = ("--detach", "--pid-file", str(path.with_name("exec.pid")), "--console-socket", str(console.path))
        await bench.ok("exec", "--process", str(path), *options, container)
        await _expect_on_terminal(await console.receive())
    return ""


@check("pause and resume")
async def pause(bench: Bench) -> str:
    container = await bench.running()
    await bench.optional("pause", container)
    status = await bench.status(container)
    expect(status == "paused", f"after pause its status is {status!r}")
    await bench.ok("resume", container)
    status = await bench.status(container)
    expect(status == "running", f"after resume its status is {status!r}")
    return ""


@check("update")
async def update(bench: Bench) -> str:
    container = await bench.running()
    resources = LinuxResources(memory=Memory(limit=UPDATED_BYTES))
    words = ("update", "--resources", "/proc/self/fd/0", container)
    await bench.optional(*words, stdin=msgspec.json.encode(resources))
    limit = await _limit(bench, container)
    expect(limit == UPDATED_BYTES, f"the memory limit is {limit}")
    return ""


@check("update: CPU")
async def update_cpu(bench: Bench) -> str:
    container = await bench.running()
    resources = LinuxResources(cpu=Cpu(shares=333))
    before = bench.cgroups.save(bench.cgroup(container), resources)
    words = ("update", "--resources", "/proc/self/fd/0", container)
    await bench.optional(*words, stdin=msgspec.json.encode(resources))
    expect(bench.cgroups.save(bench.cgroup(container), resources) != before, f"its cgroup has {before} as before")
    expect(await _limit(bench, container) == MEMORY_BYTES, "the memory limit, which was not named, has changed")
    return ""


@check("events")
async def events(bench: Bench) -> str:
    container = await bench.running()
    answer = msgspec.json.decode((await bench.optional("events", "--stats", container)).stdout)
    expect(isinstance(answer, dict) and answer.get("id") == container, "the statistics name no container")
    return ""


@check("kill")
async def kill(bench: Bench) -> str:
    container = await bench.running()
    await bench.ok("kill", container, "TERM")
    await bench.until_status(container, "stopped")
    return ""


@check("kill by number")
async def kill_by_number(bench: Bench) -> str:
    container = await bench.running("/bin/sleep", "1000")
    await bench.ok("kill", container, "9")
    await bench.until_status(container, "stopped")
    return ""


@check("kill: all processes")
async def kill_all(bench: Bench) -> str:
    container = await bench.running("/bin/sh", "-c", "/bin/sleep 1000 & : >/started; wait; wait")
    await bench.until(lambda: bench.started(container), "its command did not begin")
    await bench.optional("kill", "--all", container, "KILL")
    await bench.until_status(container, "stopped")
    return ""


@check("delete")
async def delete(bench: Bench) -> str:
    container = await bench.stopped()
    await bench.ok("delete", container)
    await bench.refused("state", container)
    expect(bench.cgroups.stats(bench.cgroup(container)) is None, "its cgroup is still there")
    return ""


@check("delete by force")
async def delete_by_force(bench: Bench) -> str:
    container = await bench.running()
    await bench.ok("delete", "--force", container)
    await bench.refused("state", container)
    return ""


@check("refused: start twice")
async def start_twice(bench: Bench) -> str:
    container = await bench.running()
    await bench.refused("start", container)
    status = await bench.status(container)
    expect(status == "running", f"its status is {status!r} then")
    return ""


@check("refused: start of a stopped container")
async def start_stopped(bench: Bench) -> str:
    await bench.refused("start", await bench.stopped())
    return ""


@check("refused: kill of a stopped container")
async def kill_stopped(bench: Bench) -> str:
    await bench.refused("kill", await bench.stopped(), "TERM")
    return ""


@check("refused: pause of a stopped container")
async def pause_stopped(bench: Bench) -> str:
    container = await bench.stopped()
    try:
        await bench.optional("pause", container)
    except Failed:
        return ""
    raise Failed("pause succeeded, and should not have")


@check("refused: delete of a running container")
async def delete_running(bench: Bench) -> str:
    container = await bench.running()
    await bench.refused("delete", container)
    status = await bench.status(container)
    expect(status == "running", f"its status is {status!r} then")
    return ""


@check("refused: exec in a stopped container")
async def exec_stopped(bench: Bench) -> str:
    done = await _exec(bench, await bench.stopped(), "/bin/true")
    expect(done.returncode != 0, "it succeeded")
    return ""


@check("refused: exec of what is not there")
async def exec_missing(bench: Bench) -> str:
    container = await bench.running()
    done = await _exec(bench, container, "/nowhere")
    expect(done.returncode != 0, "it succeeded")
    status = await bench.status(container)
    expect(status == "running", f"its status is {status!r} then")
    return ""


@check("refused: an id that is in use")
async def same_id(bench: Bench) -> str:
    container = await bench.running()
    done = await bench.create(container)
    expect(done.returncode != 0, "create succeeded")
    status = await bench.status(container)
    expect(status == "running", f"the status of the first is {status!r} then")
    return ""


@check("refused: an id that is not known")
async def unknown_id(bench: Bench) -> str:
    container = bench.new("/bin/true")
    for verb in ("state", "start", "kill", "delete"):
        await bench.refused(verb, container)
    done = await _exec(bench, container, "/bin/true")
    expect(done.returncode != 0, "exec succeeded")
    return ""


@check("refused: a command that is not there")
async def missing_command(bench: Bench) -> str:
    container = bench.new("/nowhere")
    done = await bench.create(container)
    if done.returncode != 0:
        return "at create"
    try:
        await bench.driver.start(container)
    except PodwrightError:
        return "at start"
    raise Failed("create and start succeeded")


@check("refused: a broken config.json")
async def broken_configuration(bench: Bench) -> str:
    container = bench.new("/bin/true")
    (bench.bundle(container) / "config.json").write_text("{")
    expect((await bench.create(container)).returncode != 0, "create succeeded")
    await bench.refused("state", container)
    return ""


@check("refused: a bundle without a root file system")
async def no_rootfs(bench: Bench) -> str:
    container = bench.new("/bin/true")
    shutil.rmtree(bench.bundle(container) / "rootfs")
    expect((await bench.create(container)).returncode != 0, "create succeeded")
    await bench.refused("state", container)
    return ""


async def _limit(bench: Bench, container: str) -> int | None:
    """The memory limit that the container's cgroup has; where another kernel limits it, the runtime tells."""
    stats = bench.cgroups.stats(bench.cgroup(container))
    if stats is None or stats.memory is None:
        raise Failed("there is no cgroup where the configuration says")
    if stats.memory.limit_bytes or not bench.driver.own_kernel:
        return stats.memory.limit_bytes
    answer = msgspec.json.decode((await bench.ok("events", "--stats", container)).stdout)
    return int(answer["data"]["memory"]["usage"]["limit"])


async def _exec(bench: Bench, container: str, *command: str, options: tuple[str, ...] = ()) -> Completed:
    path = bench.bundle(container) / "process.json"
    path.write_bytes(msgspec.json.encode(process(*command)))
    return await bench.call("exec", "--process", str(path), *options, container)


async def _expect_on_terminal(terminal: int) -> None:
    """What has the other end of a terminal says that it is one."""
    text = b""
    try:
        while b"a terminal" not in text:
            await readable(terminal)
            text += os.read(terminal, 1024)
    except OSError:  # EIO: nobody has the other end any more
        raise Failed(f"on the terminal there is {text!r}") from None
    finally:
        os.close(terminal)
