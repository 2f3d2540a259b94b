"""XGBoost's models from JSON that was checked number by number."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from classify.models import CLASSIFIERS, Params, fitted_as

WHOLE = ("left_children", "right_children", "parents", "split_indices", "split_type", "default_left")
NUMBERS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")


@dataclass(frozen=True)
class Expected:
    """What a fitted classifier must be: the kind, its parameters and seed, and the number of features."""

    classifier: str
    params: Params
    seed: int
    dim: int

    def build(self) -> Any:
        """Make the unfitted estimator."""
        return CLASSIFIERS[fitted_as(self.classifier)].build(self.params, self.seed)


def must(holds: object, otherwise: str) -> None:
    """Raise ValueError where something does not hold; it says what the bytes hold instead."""
    if not holds:
        raise ValueError(f"it holds {otherwise}")


def check_children(left: Any, right: Any, feature: Any, *, dim: int) -> None:
    """Check that each node's children come after it, so that every path ends, and that it asks for a known feature."""
    left, right, feature = (np.asarray(values, np.int64) for values in (left, right, feature))
    inner, number, count = left != -1, np.arange(len(left)), len(left)
    for child in (left, right):
        must(((child > number) & (child < count))[inner].all(), "a tree that is none")
    must((right[~inner] == -1).all(), "a tree that is none")
    must(((feature >= 0) & (feature < dim))[inner].all(), "a tree of other features")


def read_boosted(data: bytes, expected: Expected) -> Any:
    """Check XGBoost's JSON, and give XGBoost what was checked, written anew."""
    value = json.loads(data, parse_constant=_no_number)
    model = value["learner"]["gradient_booster"]["model"]
    base = float(value["learner"]["learner_model_param"]["base_score"].strip("[]"))
    must(0 < base < 1, "another base score")
    trees = model["trees"]
    must(value == _frame(value, trees, expected), "something else")
    for number, tree in enumerate(trees):
        _check_boosted_tree(tree, number, expected.dim)
    built = expected.build()
    built.load_model(bytearray(json.dumps(value).encode()))
    return built


def _no_number(word: str) -> float:
    raise ValueError(f"it holds {word}")


def _frame(value: Any, trees: list[Any], expected: Expected) -> dict[str, Any]:
    """Return everything that must stand around these trees, as XGBoost writes it."""
    parameters = value["learner"]["learner_model_param"]
    must(parameters["boost_from_average"] in ("0", "1"), "other parameters")
    must(len(trees) == expected.build().n_estimators, "another number of trees")
    model = {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": list(range(len(trees) + 1)),
        "tree_info": [0] * len(trees),
        "trees": trees,
    }
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            "base_score": parameters["base_score"],
            "boost_from_average": parameters["boost_from_average"],
            "num_class": "0",
            "num_feature": str(expected.dim),
            "num_target": "1",
        },
        "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
    }
    version = value["version"]
    must(len(version) == 3 and all(type(part) is int for part in version), "another version")
    return {"learner": learner, "version": version}


def _check_boosted_tree(tree: dict[str, Any], number: int, dim: int) -> None:
    must(tree.keys() == {*WHOLE, *NUMBERS, *CATEGORIES, "id", "tree_param"}, "another tree")
    count = len(tree["left_children"])
    size = {"num_deleted": "0", "num_feature": str(dim), "num_nodes": str(count), "size_leaf_vector": "1"}
    must(count >= 1 and tree["id"] == number and tree["tree_param"] == size, "a tree of another size")
    must(all(tree[name] == [] for name in CATEGORIES), "categories")
    for name, kinds in [*((n, (int,)) for n in WHOLE), *((n, (int, float)) for n in NUMBERS)]:
        values = tree[name]
        must(type(values) is list and len(values) == count, "a tree of another size")
        must(all(type(v) in kinds and math.isfinite(v) for v in values), "a tree that is none")
    must(set(tree["split_type"]) <= {0} and set(tree["default_left"]) <= {0, 1}, "other splits")
    must(all(0 <= parent < 2**31 for parent in tree["parents"]), "a tree that is none")
    check_children(tree["left_children"], tree["right_children"], tree["split_indices"], dim=dim)
