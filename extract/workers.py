"""Units of work in other processes."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from joblib import Parallel, delayed

U = TypeVar("U")
R = TypeVar("R")


def run_units(work: Callable[[U], R], units: Sequence[U], *, workers: int) -> Iterator[tuple[int, R]]:
    """Yield the number of each unit with its result."""
    yield from enumerate(
        Parallel(n_jobs=workers, return_as="generator")(delayed(work)(unit) for unit in units)
    )
