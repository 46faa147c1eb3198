"""A daemon of the bench's own: started on directories of its own, and stopped without a trace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import processes, programs
from bench.workspace import make_spread, remove_empty, remove_tree


@dataclass
class Daemon:
    """How to start a daemon of the bench's own: command line, configuration file, and the directories it fills."""

    name: str
    argv: list[str | Path]
    config: Path
    config_text: str
    root: Path
    run: Path
    log: Path
    shared: tuple[Path, ...] = ()
    """Directories outside its own that it may leave empty: removed when they weren't there before."""
    service: programs.Service | None = None

    def start(self) -> None:
        """Write the configuration and start the process."""
        self.shared = tuple(directory for directory in self.shared if not directory.exists())
        make_spread(self.root)
        self.run.mkdir()
        self.config.write_text(self.config_text)
        self.service = programs.Service(self.name, self.argv, self.log)

    def stop(self, marks: tuple[str, ...]) -> None:
        """Stop the process, kill monitors that it left, remove its directories."""
        if self.service is not None:
            self.service.stop()
        processes.kill_monitors(marks)
        self.service = None
        for directory in (self.root, self.run):
            remove_tree(directory)
        for directory in self.shared:
            remove_empty(directory)

    def tail(self) -> str:
        """The end of the daemon's log."""
        return self.service.tail() if self.service else ""
