"""Ensembles of several sizes from one: the first trees of the largest are those of a smaller one, bit for bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xgboost
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from classify.fitting import Matrix, Scored
from classify.kept import Kept
from classify.metrics import Labels
from classify.models import CLASSIFIERS, Params
from classify.protocols import Fold


def score_forests(
    X: Matrix, y: Labels, points: Sequence[Params], fold: Fold, seed: int, key: str = ""
) -> Scored:
    """Fit the deepest and largest forest; of each other depth only the trees that it changes."""
    limits = [np.inf if (limit := point.get("max_depth")) is None else limit for point in points]
    sizes = [CLASSIFIERS["random_forest"].build(point, seed).n_estimators for point in points]
    most = {
        limit: max(s for s, other in zip(sizes, limits, strict=True) if other == limit) for limit in limits
    }
    deepest = {**points[int(np.argmax(limits))], "n_estimators": max(sizes)}
    train, labels, test = X[fold.train], y[fold.train], X[fold.test]
    missing = bool(np.isnan(train).any())
    scores, totals = np.empty((len(points), len(test))), {limit: np.zeros((len(test), 2)) for limit in most}
    with threadpool_limits(limits=1):
        forest = CLASSIFIERS["random_forest"].build(deepest, seed).fit(train, labels)
        for number, grown in enumerate(forest.estimators_, start=1):
            tree, found = grown, grown.predict_proba(test, check_input=False)
            for limit in sorted((limit for limit in most if number <= most[limit]), reverse=True):
                # A tree that ends at the limit itself may have sought a split there, and drawn by chance, in vain.
                if limit < max(most) and tree.get_depth() >= limit:
                    tree = _grow_again(grown, train, labels, max_depth=limit, missing=missing)
                    found = tree.predict_proba(test, check_input=False)
                totals[limit] += found
            for i, (limit, size) in enumerate(zip(limits, sizes, strict=True)):
                if size == number:
                    scores[i] = totals[limit][:, 1] / size
    return Scored(scores, np.ones(len(points), bool))


def _grow_again(tree: Any, X: Matrix, y: Labels, *, max_depth: float, missing: bool) -> Any:
    """Grow a tree of a forest, on the same rows drawn by the same seed, to another depth.

    Where values are `missing`, a tree must look for them; else it need not look at what the forest has looked at.
    """
    drawn = np.random.RandomState(tree.random_state).randint(0, len(X), len(X))
    weight = np.bincount(drawn, minlength=len(X))
    again = clone(tree).set_params(max_depth=int(max_depth))
    return again.fit(X, y, sample_weight=weight, check_input=missing)


def score_grown(
    X: Matrix, y: Labels, points: Sequence[Params], fold: Fold, seed: int, key: str = ""
) -> Scored:
    """Let oneDAL grow the largest forest, and score with the first trees of it."""
    build = CLASSIFIERS["random_forest_onedal"].build
    sizes = [build(point, seed).n_estimators for point in points]
    test, scores = X[fold.test], np.empty((len(points), len(fold.test)))
    with threadpool_limits(limits=1):
        forest = build({**points[0], "n_estimators": max(sizes)}, seed).fit(X[fold.train], y[fold.train])
        total = np.zeros((len(test), 2))
        for number, tree in enumerate(forest.estimators_, start=1):
            total += tree.predict_proba(test, check_input=False)
            for i in np.flatnonzero(np.array(sizes) == number):
                scores[i] = total[:, 1] / number
    return Scored(scores, np.ones(len(points), bool))


def score_boosted(
    X: Matrix, y: Labels, points: Sequence[Params], fold: Fold, seed: int, key: str = ""
) -> Scored:
    """Boost as many rounds as the longest has, on the fold's binned rows; score with the first rounds of it."""
    models = [CLASSIFIERS["xgboost"].build(point, seed) for point in points]
    rounds = [model.get_num_boosting_rounds() for model in models]
    with threadpool_limits(limits=1):
        binned = BINNED.get(key, lambda: xgboost.QuantileDMatrix(X[fold.train], y[fold.train], nthread=1))
        booster = xgboost.train(models[0].get_xgb_params(), binned, max(rounds))
        test = X[fold.test]
        scores = [booster.inplace_predict(test, iteration_range=(0, count)) for count in rounds]
    return Scored(np.array(scores, np.float64), np.ones(len(points), bool))


BINNED = Kept()  # one binned training part a process
