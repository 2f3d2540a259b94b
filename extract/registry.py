"""Names to things, refusing to overwrite in silence."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from extract.errors import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """A named collection of one kind of thing.

    >>> colours = Registry("colour")
    >>> colours.add("red", "#f00")
    >>> colours["red"]
    '#f00'
    >>> colours.add("red", "#e00")
    Traceback (most recent call last):
    ...
    ValueError: Expected a new colour; got 'red', which is already registered. Choose another name.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Register `entry` under `name`; ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(
                f"Expected a new {self.kind}; got {name!r}, which is already registered. Choose another name."
            )
        self._entries[name] = entry

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a function or class so that it is found under `name`."""

        def decorate(entry: T) -> T:
            self.add(name, entry)
            return entry

        return decorate

    def __getitem__(self, name: str) -> T:
        """Return the entry; `RequestError` with the nearest known name if there is none."""
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)
