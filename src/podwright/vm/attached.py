"""A process in the machine, as the keeper has it: its streams on the host, and its end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from podwright.vm.agent import Agent
from podwright.vm.control import Message
from podwright.vm.streams import Input, Output

_SILENCE_S = 0.1
_LONGEST_DRAIN_S = 30.0


@dataclass(frozen=True)
class End:
    """`code`: 128+n for signal n. `lost`: why the machine ended, where that ended the process."""

    code: int
    oom: bool = False
    lost: str = ""


class Attached:
    """The first process of a container, or with `execution` a further one.

    `descriptors`: its standard input, output and error, or its terminal alone; they are taken over.
    """

    def __init__(self, agent: Agent, container: str, execution: str, descriptors: list[int], *, terminal: bool) -> None:
        self._agent, self.container, self.execution = agent, container, execution
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        source, *sinks = [*descriptors, os.dup(descriptors[0])] if terminal else descriptors
        self._input: Input = agent.open_input(source)
        self._outputs: list[Output] = [agent.open_output(sink) for sink in sinks]

    @property
    def key(self) -> tuple[str, str]:
        return self.container, self.execution

    @property
    def streams(self) -> dict[str, int]:
        """As the agent's requests name them."""
        names = ("stdin", "stdout", "stderr")
        numbers = (self._input.number, *(output.number for output in self._outputs))
        return dict(zip(names, numbers, strict=False))

    def request(self, verb: str, **attributes: object) -> Message:
        """A request about this process."""
        named = {"id": self.container} | ({"exec": self.execution} if self.execution else {})
        return {"verb": verb, **named, **attributes}

    def begun(self) -> None:
        """It is there, and reads its input."""
        self._agent.begin(self._input)

    def ended(self, end: End) -> None:
        """The agent, or the machine's end, tells the process's; the first word counts."""
        if not self._ended.done():
            self._ended.set_result(end)

    async def end(self) -> End:
        """Wait for the end, and until what the process wrote has been passed on.

        Another process may hold the streams and go on: then they stay, and silence is taken for the end.
        """
        end = await asyncio.shield(self._ended)
        self._input.end()
        try:
            async with asyncio.timeout(_LONGEST_DRAIN_S):
                for output in self._outputs:
                    await self._drained(output)
        except TimeoutError:
            pass  # who should read doesn't
        return end

    async def _drained(self, output: Output) -> None:
        while not output.done.is_set():
            before = output.activity
            try:
                async with asyncio.timeout(_SILENCE_S):
                    await output.done.wait()
            except TimeoutError:
                if output.idle and output.activity == before:
                    return

    def abandon(self) -> None:
        """Nobody is left to carry anything to."""
        self._input.end()
        for output in self._outputs:
            output.ended()
