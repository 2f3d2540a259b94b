"""Fitted classifiers as bytes and back, without running or trusting anything that the bytes say.

scikit-learn's estimators are written by skops, XGBoost's as its own JSON: neither holds code. Reading checks first that
nothing but the known types is named, then that the numbers fit together: compiled code follows the child indices of
a tree, or counts support vectors, without looking.
"""

import io
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import skops.io
from skops.io._protocol import PROTOCOL

from classify.models import CLASSIFIERS, Params
from extract.errors import RequestError

# Every type that a file may name, as (skops's loader, type), one by one.
PLAIN = frozenset(
    {
        ("DictNode", "builtins.dict"),
        ("ListNode", "builtins.list"),
        ("JsonNode", "builtins.str"),
        ("TypeNode", "builtins.str"),  # the type of a dictionary's keys
        ("NdArrayNode", "numpy.ndarray"),
    }
)
TYPES: Mapping[str, frozenset[tuple[str, str]]] = {
    "logistic_regression": PLAIN | {("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression")},
    "svc": PLAIN
    | {
        ("ObjectNode", "sklearn.svm._classes.SVC"),
        ("NdArrayNode", "numpy.float64"),
        ("TupleNode", "builtins.tuple"),
    },
    "random_forest": PLAIN
    | {
        ("ObjectNode", "sklearn.ensemble._forest.RandomForestClassifier"),
        ("ObjectNode", "sklearn.tree._classes.DecisionTreeClassifier"),
        ("TreeNode", "sklearn.tree._tree.Tree"),
        ("NdArrayNode", "numpy.int64"),
        ("TupleNode", "builtins.tuple"),
    },
}
NODE = {"__class__", "__module__", "__loader__"}


@dataclass(frozen=True)
class Expected:
    """What a fitted classifier must be: the kind, its parameters and seed, and the number of features."""

    classifier: str
    params: Params
    seed: int
    dim: int

    def build(self) -> Any:
        """Make the unfitted estimator."""
        return CLASSIFIERS[self.classifier].build(self.params, self.seed)


def model_suffix(classifier: str) -> str:
    """Return the ending of a classifier's files; `RequestError` for one that has no safe format."""
    if classifier == "xgboost":
        return ".json"
    if classifier not in TYPES:
        known = ", ".join([*TYPES, "xgboost"])
        raise RequestError(f"Expected a classifier that can be exported ({known}); got {classifier}.")
    return ".skops"


def write_model(model: Any, *, classifier: str) -> bytes:
    """Turn a fitted classifier into bytes."""
    if model_suffix(classifier) == ".json":
        return bytes(model.get_booster().save_raw("json"))
    return bytes(skops.io.dumps(model))


def read_model(data: bytes, expected: Expected) -> Any:
    """Turn bytes into a fitted classifier that can be scored without harm.

    Raises
    ------
    Exception
        Of any type, for bytes that are not the classifier that is expected; nothing that they name was run.
    """
    if model_suffix(expected.classifier) == ".json":
        return _read_boosted(data, expected)
    allowed = TYPES[expected.classifier]
    _audit(data, allowed, expected)
    with warnings.catch_warnings():
        # Another scikit-learn: what matters is checked below, and on the reference faces.
        warnings.simplefilter("ignore")
        model = skops.io.loads(data, trusted=sorted(name for _, name in allowed))
    _must(type(model) is type(expected.build()), "another kind of classifier")
    _must(model.get_params() == expected.build().get_params(), "other parameters")
    _must(np.array_equal(model.classes_, [0, 1]), "other classes")
    _must(model.n_features_in_ == expected.dim, "another number of features")
    CHECKS[expected.classifier](model, expected.dim)
    return model


def _must(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"it holds {otherwise}")


# -- what skops reads ------------------------------------------------------------------------------------------


def _audit(data: bytes, allowed: frozenset[tuple[str, str]], expected: Expected) -> None:
    """Check a skops file before skops sees it: no compression, no type that is not allowed, arrays as long as said."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = file.infolist()
        names = [member.filename for member in members]
        _must(len(set(names)) == len(names), "the same name twice")
        _must(all(m.compress_type == zipfile.ZIP_STORED for m in members), "compressed parts")
        _must(sum(m.file_size for m in members) <= len(data), "more than its size")
        for name in set(names) - {"schema.json"}:
            _check_array(file.read(name))
        schema = json.loads(file.read("schema.json"))
    # Files of older protocols are read by older code: ours are all of this one.
    _must(schema["protocol"] == PROTOCOL, "another protocol")
    for node in _nodes(schema):
        _must(node.keys() >= NODE, "a part without a type")
        kind = (node["__loader__"], f"{node['__module__']}.{node['__class__']}")
        _must(kind in allowed, f"the type {kind[1]}, which is not allowed")
        if kind[0] == "NdArrayNode":
            _must(node["type"] == "numpy" and node["file"] in names, "an array that is not there")
        if kind[0] == "TreeNode":
            _check_tree_arguments(node, expected.dim)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Walk through JSON for everything that skops could take for an object."""
    if isinstance(value, dict):
        if value.keys() & NODE:
            yield value
        value = list(value.values())
    for part in value if isinstance(value, list) else ():
        yield from _nodes(part)


def _check_array(data: bytes) -> None:
    """Check that a .npy file is plain numbers and as long as its header says: an absurd shape costs no memory."""
    stream = io.BytesIO(data)
    _must(np.lib.format.read_magic(stream) == (1, 0), "an array of another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    _must(not dtype.hasobject, "an array of objects")
    _must(all(length >= 0 for length in shape), "an array of negative length")
    _must(stream.tell() + math.prod(shape) * dtype.itemsize == len(data), "an array of another length")


def _check_tree_arguments(node: Mapping[str, Any], dim: int) -> None:
    """Check what skops calls the constructor of a tree with: features, classes of each output, outputs."""
    features, _, outputs = node["__reduce__"]["args"]["content"]
    _must(json.loads(features["content"]) == dim, "a tree of other features")
    _must(json.loads(outputs["content"]) == 1, "a tree of several outputs")


# -- what compiled code relies on ----------------------------------------------------------------------------------


def _check_linear(model: Any, dim: int) -> None:
    _must(
        _is(model.coef_, (1, dim), np.floating) and _is(model.intercept_, (1,), np.floating),
        "other coefficients",
    )


def _check_svc(model: Any, dim: int) -> None:
    count = len(model.support_)
    shapes = {
        "support_vectors_": (count, dim),
        "_dual_coef_": (1, count),
        "_intercept_": (1,),
        "dual_coef_": (1, count),
        "intercept_": (1,),
        "_probA": (0,),
        "_probB": (0,),
    }
    _must(all(_is(getattr(model, name), shape) for name, shape in shapes.items()), "other support vectors")
    _must(_is(model.support_, (count,), np.int32) and _is(model._n_support, (2,), np.int32), "other counts")
    _must((model._n_support >= 0).all() and model._n_support.sum() == count, "other counts")
    _must(model._sparse is False and model.shape_fit_[1] == dim, "another number of features")


def _check_forest(model: Any, dim: int) -> None:
    _must(model.n_outputs_ == 1 and model.n_classes_ == 2, "other outputs")
    _must(len(model.estimators_) == model.n_estimators, "another number of trees")
    for part in model.estimators_:
        _must(part.n_outputs_ == 1 and part.n_classes_ == 2 and part.n_features_in_ == dim, "other trees")
        _check_tree(part.tree_, dim)


def _check_tree(tree: Any, dim: int) -> None:
    # First: whoever reads a tree's arrays reads as many nodes as it says, whether it has them or not.
    _must(tree.node_count == tree.capacity >= 1, "a tree of another size")
    _must((tree.n_features, tree.n_outputs, list(tree.n_classes)) == (dim, 1, [2]), "another tree")
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    _check_children(left, right, feature, dim=dim)
    _must(_is(tree.value, (len(left), 1, 2)), "other values")


def _check_children(left: Any, right: Any, feature: Any, *, dim: int) -> None:
    """Check that each node's children come after it, so that every path ends, and that it asks for a known feature."""
    left, right, feature = (np.asarray(values, np.int64) for values in (left, right, feature))
    inner, number, count = left != -1, np.arange(len(left)), len(left)
    for child in (left, right):
        _must(((child > number) & (child < count))[inner].all(), "a tree that is none")
    _must((right[~inner] == -1).all(), "a tree that is none")
    _must(((feature >= 0) & (feature < dim))[inner].all(), "a tree of other features")


def _is(values: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> bool:
    return isinstance(values, np.ndarray) and values.shape == shape and np.issubdtype(values.dtype, dtype)


CHECKS: Mapping[str, Callable[[Any, int], None]] = {
    "logistic_regression": _check_linear,
    "svc": _check_svc,
    "random_forest": _check_forest,
}


# -- XGBoost -------------------------------------------------------------------------------------------------------

WHOLE = ("left_children", "right_children", "parents", "split_indices", "split_type", "default_left")
NUMBERS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")


def _read_boosted(data: bytes, expected: Expected) -> Any:
    """Check XGBoost's JSON, and give XGBoost what was checked, written anew."""
    value = json.loads(data, parse_constant=_no_number)
    model = value["learner"]["gradient_booster"]["model"]
    base = float(value["learner"]["learner_model_param"]["base_score"].strip("[]"))
    _must(0 < base < 1, "another base score")
    trees = model["trees"]
    _must(value == _frame(value, trees, expected), "something else")
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
    _must(parameters["boost_from_average"] in ("0", "1"), "other parameters")
    _must(len(trees) == expected.build().n_estimators, "another number of trees")
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
    _must(len(version) == 3 and all(type(part) is int for part in version), "another version")
    return {"learner": learner, "version": version}


def _check_boosted_tree(tree: dict[str, Any], number: int, dim: int) -> None:
    _must(tree.keys() == {*WHOLE, *NUMBERS, *CATEGORIES, "id", "tree_param"}, "another tree")
    count = len(tree["left_children"])
    size = {"num_deleted": "0", "num_feature": str(dim), "num_nodes": str(count), "size_leaf_vector": "1"}
    _must(count >= 1 and tree["id"] == number and tree["tree_param"] == size, "a tree of another size")
    _must(all(tree[name] == [] for name in CATEGORIES), "categories")
    for name, kinds in [*((n, (int,)) for n in WHOLE), *((n, (int, float)) for n in NUMBERS)]:
        values = tree[name]
        _must(type(values) is list and len(values) == count, "a tree of another size")
        _must(all(type(v) in kinds and math.isfinite(v) for v in values), "a tree that is none")
    _must(set(tree["split_type"]) <= {0} and set(tree["default_left"]) <= {0, 1}, "other splits")
    _must(all(0 <= parent < 2**31 for parent in tree["parents"]), "a tree that is none")
    _check_children(tree["left_children"], tree["right_children"], tree["split_indices"], dim=dim)
