"""How a long stage shows that it is alive: what, how many, how fast, how long still."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")


class Track(Protocol):
    """Yield the items of an iterable unchanged, showing how far it has come.

    `note` is asked after every item for a few words on what was found so far.
    """

    def __call__(
        self,
        items: Iterable[T],
        description: str,
        total: int | None = None,
        note: Callable[[], str] | None = None,
    ) -> Iterable[T]: ...


def no_progress(
    items: Iterable[T], description: str, total: int | None = None, note: Callable[[], str] | None = None
) -> Iterable[T]:
    """Show nothing; the default wherever a `Track` is taken."""
    return items


class _Rate(ProgressColumn):
    """Items a second since the start of the stage."""

    def render(self, task: Task) -> Text:
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:.1f}/s", style="progress.data.speed")


def terminal_progress(
    items: Iterable[T], description: str, total: int | None = None, note: Callable[[], str] | None = None
) -> Iterator[T]:
    """Draw a bar on standard error; silent when that is not a terminal.

    `total` is the number of items, taken from ``len(items)`` where it is not given.
    """
    count = len(items) if total is None and isinstance(items, Sized) else total
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *([TextColumn("{task.fields[note]}")] if note else []),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=count, note="")
        for item in items:
            yield item
            progress.update(task, advance=1, note=note() if note else "")
