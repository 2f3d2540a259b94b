"""Inner products of all rows, computed once, and the kernels that scikit-learn's SVC makes of them.

An SVC sees its rows through one matrix: that of the kernel between every two of them. All of its kernels are functions
of inner products, so one matrix of those serves every fold, kernel and C. Products and kernels are float64, as in
libsvm, which rounds what it keeps of them to float32: of the last bits, that are other than where libsvm sums, it
sees hardly any.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from classify.fitting import Matrix, Scored
from classify.groups import Ints
from classify.metrics import Floats, Labels
from classify.models import CLASSIFIERS, Params
from classify.protocols import Fold

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

BLOCK = 256  # rows at a time: what is made beside the matrices stays small
CACHE = 50  # MB of rows that libsvm keeps of a kernel for a fit: looking one up is as fast as remembering it


@dataclass(frozen=True)
class Gram:
    """Inner products between rows of a feature set.

    Attributes
    ----------
    rows : (m,) int64
        Which rows, ascending.
    products : (m, m) float64
        Exactly symmetric.
    dim : int
        Columns of the feature set.
    """

    rows: Ints
    products: Floats
    dim: int


@dataclass(frozen=True)
class Kernel:
    """A kernel with its numbers: ``rbf``, ``linear``, ``poly`` (cubic) or ``sigmoid``, and gamma."""

    name: str
    gamma: float


def gram_bytes(rows: int) -> int:
    """Return the size of one matrix between so many rows, bytes; a search holds less than two of them."""
    return rows * rows * np.dtype(np.float64).itemsize


def compute_gram(X: Matrix, rows: Ints, *, threads: int = 1) -> Gram:
    """Multiply every two of some rows (m,) of X (n, d); the same bits with any number of threads."""
    products = np.empty((len(rows), len(rows)))
    starts = range(0, len(rows), BLOCK)

    def fill(start: int) -> None:
        mine = X[rows[start : start + BLOCK]].astype(np.float64)
        here = slice(start, start + len(mine))
        products[here, here] = mine @ mine.T  # numpy makes it symmetric
        for other in range(start + BLOCK, len(rows), BLOCK):
            block = mine @ X[rows[other : other + BLOCK]].astype(np.float64).T
            products[here, other : other + block.shape[1]] = block
            products[other : other + block.shape[1], here] = block.T

    with mapping(threads) as each:
        for _ in each(fill, starts):
            pass
    return Gram(rows, products, X.shape[1])


def kernel_of(params: Params, X: Matrix, train: Ints) -> Kernel:
    """Return the kernel that scikit-learn uses for a point of SVC's grid when it trains on some rows."""
    gamma = params.get("gamma", "scale")
    if gamma == "scale":
        variance = X[train].astype(np.float64).var()
        gamma = 1.0 / (X.shape[1] * variance) if variance != 0 else 1.0
    elif gamma == "auto":
        gamma = 1.0 / X.shape[1]
    return Kernel(params.get("kernel", "rbf"), float(gamma))


def fill_kernel(
    gram: Gram, kernel: Kernel, rows: Ints, columns: Ints, *, out: Floats | None = None
) -> Floats:
    """Compute the kernel between rows (a,) and rows (b,) of the feature set: (a, b) float64, into `out`."""
    first, second = np.searchsorted(gram.rows, rows), np.searchsorted(gram.rows, columns)
    values = np.take(gram.products[first], second, axis=1, out=out, mode="clip")  # "raise" would buffer `out`
    squares = gram.products.diagonal()
    KERNELS[kernel.name](values, squares[first][:, None], squares[second], kernel.gamma)
    return values


@contextmanager
def mapping(threads: int) -> Iterator[Map]:
    """Give `map`, or one over threads of which each keeps to one processor; in the order of what is mapped."""
    with threadpool_limits(limits=1):
        if threads == 1:
            yield map
            return
        with ThreadPoolExecutor(threads, initializer=threadpool_limits, initargs=(1,)) as pool:
            yield pool.map


def score_kernels(
    gram: Gram,
    X: Matrix,
    y: Labels,
    points: Sequence[Params],
    *,
    fold: Fold,
    seed: int,
    threads: int = 1,
) -> Scored:
    """Fit SVCs that differ in C on one kernel matrix, each in one of some threads that share it, and score them.

    Parameters
    ----------
    gram : Gram
        Of at least the fold's rows.
    points : sequence of mapping
        The same kernel and gamma.
    """
    kernel = kernel_of(points[0], X, fold.train)
    with mapping(threads) as each:
        models = _fit_kernel(gram, kernel, y, points, train=fold.train, seed=seed, each=each)
        blocks = [fold.test[start : start + BLOCK] for start in range(0, len(fold.test), BLOCK)]

        def score_block(rows: Ints) -> Floats:
            values = fill_kernel(gram, kernel, rows, fold.train)
            return np.array([model.decision_function(values) for model in models])

        scores = np.concatenate(list(each(score_block, blocks)), axis=1)
    return Scored(scores, np.array([model.fit_status_ == 0 for model in models]))


def _fit_kernel(
    gram: Gram, kernel: Kernel, y: Labels, points: Sequence[Params], *, train: Ints, seed: int, each: Any
) -> list[Any]:
    """Fit one SVC a point; the kernel matrix (n_train, n_train) is gone when they are returned."""
    matrix = np.empty((len(train), len(train)))

    def fill(start: int) -> None:
        rows = slice(start, start + BLOCK)
        fill_kernel(gram, kernel, train[rows], train, out=matrix[rows])

    def fit_one(i: int) -> Any:
        model = CLASSIFIERS["svc"].build(points[i], seed)
        return model.set_params(kernel="precomputed", cache_size=CACHE).fit(matrix, y[train])

    for _ in each(fill, range(0, len(train), BLOCK)):
        pass
    order = sorted(range(len(points)), key=lambda i: -points[i].get("C", 1.0))
    fitted = dict(zip(order, each(fit_one, order), strict=True))
    return [fitted[i] for i in range(len(points))]


# -- from inner products to kernels, in place, in libsvm's order of operations -----------------------------------

InPlace = Callable[[Floats, Floats, Floats, float], None]


def _rbf(values: Floats, own: Floats, other: Floats, gamma: float) -> None:
    values *= -2
    values += own + other
    values *= -gamma
    np.exp(values, out=values)


def _linear(values: Floats, own: Floats, other: Floats, gamma: float) -> None:
    pass


def _poly(values: Floats, own: Floats, other: Floats, gamma: float) -> None:
    values *= gamma
    values *= values * values


def _sigmoid(values: Floats, own: Floats, other: Floats, gamma: float) -> None:
    values *= gamma
    np.tanh(values, out=values)


KERNELS: Mapping[str, InPlace] = {"rbf": _rbf, "linear": _linear, "poly": _poly, "sigmoid": _sigmoid}
