"""Trees of forests and of boosting in one form, without the library that grew them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classify.fitting import Matrix
from classify.metrics import Floats

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """A binary tree as arrays over its k nodes; node 0 is the root, and a split.

    Attributes
    ----------
    feature : (k,) int64
        Which feature a split looks at.
    threshold : (k,) float64
    left, right : (k,) int64
        Child where the comparison with the threshold holds, and where not; -1 in a leaf.
    value : (k,) float64
        What a leaf adds to the score.
    """

    feature: Ids
    threshold: Floats
    left: Ids
    right: Ids
    value: Floats

    @property
    def leaf(self) -> npt.NDArray[np.bool_]:
        return self.left < 0


def forest_trees(forest: Any) -> list[Tree]:
    """Read a fitted `RandomForestClassifier` of two classes: ``x <= threshold`` goes left, values are P(fake)."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    return [
        _tree(t.feature, t.threshold, left=t.children_left, right=t.children_right, value=t.value[:, 0, 1])
        for t in trees
    ]


def boosted_trees(booster: Any) -> tuple[list[Tree], float]:
    """Read a fitted `XGBClassifier`: its trees (``x < threshold`` goes left) and the margin that they add to.

    Returns
    -------
    trees : list of Tree
        Values are log odds.
    base : float
        log(p / (1 - p)) of XGBoost's `base_score` p, which it estimates from the labels where none is set.
    """
    learner = json.loads(bytes(booster.get_booster().save_raw("json")))["learner"]
    # A number up to XGBoost 3.0, a list of one number ("[1.35E-1]") since 3.1.
    (share,) = np.ravel(json.loads(learner["learner_model_param"]["base_score"])).astype(np.float32).tolist()
    trees = learner["gradient_booster"]["model"]["trees"]
    return [_boosted_tree(tree) for tree in trees], float(np.log(share) - np.log1p(-share))


def _boosted_tree(tree: Any) -> Tree:
    # Float32 numbers as the shortest decimals that tell them apart: exact only when read as float32. A leaf's
    # value stands where a split's threshold does.
    numbers = np.array(tree["split_conditions"], np.float32)
    return _tree(
        tree["split_indices"],
        numbers,
        left=tree["left_children"],
        right=tree["right_children"],
        value=numbers,
    )


def leaf_values(trees: Sequence[Tree], leaves: Ids) -> Floats:
    """Look up what each tree adds to each row: node numbers (n, trees) -> (n, trees) float64."""
    columns = [tree.value[number] for tree, number in zip(trees, leaves.T, strict=True)]
    return np.stack(columns, axis=1) if columns else np.zeros(leaves.shape)


def boosted_leaves(booster: Any, X: Matrix) -> Ids:
    """Return the node that each row (n, d) ends in, in each of a fitted `XGBClassifier`'s trees: (n, trees)."""
    return np.asarray(booster.apply(X), np.int64).reshape(len(X), -1)


def _tree(feature: Any, threshold: Any, *, left: Any, right: Any, value: Any) -> Tree:
    values = np.asarray(value, np.float64)
    if len(values) == 1:  # never split: written as a split with the same leaf on both sides
        return _tree([0, 0, 0], np.zeros(3), left=[1, -1, -1], right=[2, -1, -1], value=np.repeat(values, 3))
    ids = [np.asarray(each, np.int64) for each in (feature, left, right)]
    return Tree(ids[0], np.asarray(threshold, np.float64), left=ids[1], right=ids[2], value=values)
