"""What a process keeps between units that share it."""

from collections.abc import Callable
from typing import Any


class Kept:
    """The last thing that a process made, by its key."""

    def __init__(self) -> None:
        self.key, self.value = "", None

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what was made under `key`; make it, and forget another, where there is none. Empty: keep nothing."""
        if not key:
            return make()
        if key != self.key:
            self.forget()
            self.value = make()
            self.key = key
        return self.value

    def forget(self) -> None:
        """Keep nothing."""
        self.key, self.value = "", None
