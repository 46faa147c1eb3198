"""A typed door to a manifest: each access names its field, and an error names the whole path.

A manifest is somebody's hand-written text, so the messages are half of the job. `null` means the same as absence,
as it does to the API server.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from podwright.base.errors import InvalidArgument


class Node:
    """One object of a manifest: its members, its path from the document's root, and where warnings go."""

    def __init__(self, value: object, path: str, warn: Callable[[str], None]) -> None:
        if not isinstance(value, Mapping):
            raise InvalidArgument(f"must be an object, not {describe(value)}", field=path)
        for key in value:
            if not isinstance(key, str):
                raise InvalidArgument(f"the key {key!r} must be a string; put it in quotes", field=path)
        self.path = path
        self._members: Mapping[str, Any] = {key: item for key, item in value.items() if item is not None}
        self._warn = warn

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, message: str) -> InvalidArgument:
        """An error about a member."""
        return InvalidArgument(message, field=self.at(name))

    def warn(self, name: str, message: str) -> None:
        """A warning about a member."""
        self._warn(f"{self.at(name)}: {message}")

    def only(
        self,
        known: Collection[str],
        *,
        ignored: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """Check the members' names: warn of `ignored` ones, raise for `refused` ones (both with a reason) and typos."""
        ignored, refused = ignored or {}, refused or {}
        for name, value in self._members.items():
            if name in refused and value not in ([], {}, "", False):
                raise self.error(name, refused[name])
            if name in ignored and value not in ([], {}, ""):
                self.warn(name, ignored[name])
            if name not in known and name not in ignored and name not in refused:
                near = difflib.get_close_matches(name, [*known, *ignored, *refused], 1)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"
                raise self.error(name, f"unknown field{hint}")

    def text(self, name: str, default: str = "") -> str:
        """A string member."""
        value = self._members.get(name, default)
        if not isinstance(value, str):
            hint = "; put it in quotes" if isinstance(value, bool | int | float) else ""
            raise self.error(name, f"must be a string, not {describe(value)}{hint}")
        return value

    def required_text(self, name: str) -> str:
        """A string member that must be there and not be empty."""
        value = self.text(name)
        if not value:
            raise self.error(name, "is required")
        return value

    def choice(self, name: str, allowed: Collection[str], default: str) -> str:
        """A string member out of a few."""
        value = self.text(name, default)
        if value not in allowed:
            shown = ", ".join(repr(item) for item in allowed)
            raise self.error(name, f"must be one of {shown}, not {value!r}")
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean member; None when it is absent."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.error(name, f"must be true or false, not {describe(value)}")
        return value

    def integer(self, name: str, *, least: int = 0, most: int = 2**63 - 1) -> int | None:
        """A whole number; None when it is absent."""
        value = self._members.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, f"must be a whole number, not {describe(value)}")
        if not least <= value <= most:
            raise self.error(name, f"must be from {least} to {most}, not {value}")
        return value

    def scalar(self, name: str) -> str | None:
        """A number or a string, as quantities are written, as a string; None when it is absent."""
        value = self._members.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self.error(name, f"must be a number or a string, not {describe(value)}")
        return str(value)

    def names(self) -> list[str]:
        """The names of the members that are there."""
        return list(self._members)

    def child(self, name: str) -> Node | None:
        """An object member; None when it is absent."""
        value = self._members.get(name)
        return None if value is None else Node(value, self.at(name), self._warn)

    def children(self, name: str) -> list[Node]:
        """A list of objects."""
        items = self._list(name)
        return [Node(item, f"{self.at(name)}[{i}]", self._warn) for i, item in enumerate(items)]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        for i, item in enumerate(items := self._list(name)):
            if not isinstance(item, str):
                hint = "; put it in quotes" if isinstance(item, bool | int | float) else ""
                raise self.error(f"{name}[{i}]", f"must be a string, not {describe(item)}{hint}")
        return tuple(items)

    def integers(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers, none below 0."""
        for i, item in enumerate(items := self._list(name)):
            if isinstance(item, bool) or not isinstance(item, int) or item < 0:
                raise self.error(f"{name}[{i}]", f"must be a whole number of at least 0, not {describe(item)}")
        return tuple(items)

    def text_map(self, name: str) -> dict[str, str]:
        """An object whose members are strings."""
        inner = self.child(name)
        return {} if inner is None else {key: inner.text(key) for key in inner.names()}

    def _list(self, name: str) -> list[Any]:
        value = self._members.get(name, [])
        if not isinstance(value, list):
            raise self.error(name, f"must be a list, not {describe(value)}")
        return value


def describe(value: object) -> str:
    """A value's kind in words, with the value where it is short."""
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "an object"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
        case str() if len(value) > 40:
            return "a string"
        case _:
            return repr(value)
