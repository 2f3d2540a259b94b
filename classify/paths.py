"""How configurations that differ in some parameters are fitted and scored together: the answers of separate fits.

- A forest of 500 trees begins with the trees of the forest of 300; a tree that ends above a largest depth is the tree
  that is grown to that depth (not where oneDAL grows it). Probabilities are summed tree by tree in scikit-learn's
  order: the same bits.
- 500 rounds of boosting begin with the first 300, and all fits on a fold read the same binned rows: the same bits.
- An SVC needs no more than the kernel between its rows: one matrix a fold for all C, made of one matrix of inner
  products (`classify.gram`). Decision values agree to about 1e-9.
- A logistic regression is fitted anew for each C. Warm starts are faster (3.6 times on 8,000 x 1,024), but the
  solver stops where its tolerance says: the AUC of a fold moves by up to 6e-4, of separable rows by 2e-2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from classify.fitting import Matrix, Scored
from classify.metrics import Labels
from classify.models import Params
from classify.prefixes import score_boosted, score_forests, score_grown
from classify.protocols import Fold

Resource = Literal["rows", "trees"]
TREES = 100  # that forests and boosting have where a grid says nothing


@dataclass(frozen=True)
class Path:
    """What configurations of a classifier share.

    Attributes
    ----------
    shared : tuple of str
        Parameters in which configurations that are fitted together differ.
    cost : callable
        From a configuration to about how long its fit takes, in no unit: longer ones start first.
    resource : {"rows", "trees"}
        What a search by halving gives little of at first.
    score : callable, optional
        (X, y, points, fold, seed, key) -> Scored, single-threaded. What a process keeps, it keeps under `key`, if there
        is one.
    """

    shared: tuple[str, ...]
    cost: Callable[[Params], float]
    resource: Resource = "rows"
    score: Callable[[Matrix, Labels, Sequence[Params], Fold, int, str], Scored] | None = None


def _tree_cost(params: Params) -> float:
    depth = params.get("max_depth", 6)
    return float(params.get("n_estimators", TREES) * (100 if depth is None else depth))


PATHS: Mapping[str, Path] = {
    "logistic_regression": Path((), lambda params: float(params.get("C", 1.0))),
    "svc": Path(("C",), lambda params: float(params.get("C", 1.0))),
    "random_forest": Path(
        ("n_estimators", "max_depth"),
        lambda params: _tree_cost(params) / params.get("min_samples_leaf", 1),
        "trees",
        score_forests,
    ),
    "random_forest_onedal": Path(
        ("n_estimators",),
        lambda params: _tree_cost(params) / params.get("min_samples_leaf", 1),
        "trees",
        score_grown,
    ),
    "xgboost": Path(("n_estimators",), _tree_cost, "trees", score_boosted),
}
