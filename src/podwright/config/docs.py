"""docs/configuration.md, made from the same declarations as the parser."""

from __future__ import annotations

from podwright.config.schema import default_toml

_INTRODUCTION = """\
# Configuration

`/etc/podwright/config.toml`, then `/etc/podwright/conf.d/*.toml` by name, then environment variables
`PODWRIGHT_SECTION_KEY`, then the flags of `podwright serve`; the later one wins. Tables merge key by key. An unknown
key or a wrong type is an error that names file, line, key and what is allowed: `podwright config check [FILE]`.
`podwright config show` prints what is in force, `podwright config default` the file below.

A handler for a RuntimeClass is a table:

```toml
[runtime.handlers.debug-crun]
path = "/usr/bin/crun"
options = ["--debug"]
```

## Every setting, with its default

"""


def configuration_page() -> str:
    """The whole page."""
    return f"{_INTRODUCTION}```toml\n{default_toml()}```\n"
