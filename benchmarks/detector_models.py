"""Fitted classifiers as bytes and back, without running or trusting anything that the bytes say.

scikit-learn's estimators are written by skops, XGBoost's as its own JSON: neither holds code. Reading checks first that
nothing but the known types is named, then that the numbers fit together: compiled code follows the child indices of
a tree, or counts support vectors, without looking. (skops would hand XGBoost's bytes to compiled code before anyone
could look into them.)
"""

import io
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import skops.io
from skops.io._protocol import PROTOCOL

from benchmarks.detector_boosted import Expected, check_children, must, read_boosted
from classify.models import CLASSIFIERS, fitted_as
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


def model_suffix(classifier: str) -> str:
    """Return the ending of a classifier's files; `RequestError` for one that has no safe format."""
    if classifier == "xgboost":
        return ".json"
    if classifier not in CLASSIFIERS or fitted_as(classifier) not in TYPES:
        known = ", ".join([*TYPES, "xgboost"])
        raise RequestError(f"Expected a classifier that can be exported ({known}); got {classifier}.")
    return ".skops"


def write_model(model: Any, *, classifier: str) -> bytes:
    """Turn a fitted classifier into bytes."""
    if model_suffix(classifier) == ".json":
        return bytes(model.get_booster().save_raw("json"))
    return _repeatable(skops.io.dumps(model))


def read_model(data: bytes, expected: Expected) -> Any:
    """Turn bytes into a fitted classifier that can be scored without harm.

    Raises
    ------
    Exception
        Of any type, for bytes that are not the classifier that is expected; nothing that they name was run.
    """
    if model_suffix(expected.classifier) == ".json":
        return read_boosted(data, expected)
    kind = fitted_as(expected.classifier)
    allowed = TYPES[kind]
    _audit(data, allowed, expected)
    with warnings.catch_warnings():
        # Another scikit-learn: what matters is checked below, and on the reference faces.
        warnings.simplefilter("ignore")
        model = skops.io.loads(data, trusted=sorted(name for _, name in allowed))
    must(type(model) is type(expected.build()), "another kind of classifier")
    must(model.get_params() == expected.build().get_params(), "other parameters")
    must(np.array_equal(model.classes_, [0, 1]), "other classes")
    must(model.n_features_in_ == expected.dim, "another number of features")
    CHECKS[kind](model, expected.dim)
    return model


def _repeatable(data: bytes) -> bytes:
    """Write a skops file without addresses in memory or times: the same model, the same bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        parts = {name: file.read(name) for name in file.namelist() if name != "schema.json"}
        schema = json.loads(file.read("schema.json"))
    names: dict[str, str] = {}
    for node in _nodes(schema):
        if "file" in node:
            node["file"] = names.setdefault(node["file"], f"{len(names)}.npy")
        node.pop("__id__", None)
    contents = {name: parts[old] for old, name in names.items()} | {
        "schema.json": json.dumps(schema).encode()
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, part in contents.items():
            file.writestr(zipfile.ZipInfo(name), part)  # of 1980
    return stream.getvalue()


# -- what skops reads ------------------------------------------------------------------------------------------


def _audit(data: bytes, allowed: frozenset[tuple[str, str]], expected: Expected) -> None:
    """Check a skops file before skops sees it: no compression, no type that is not allowed, arrays as long as said."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = file.infolist()
        names = [member.filename for member in members]
        must(len(set(names)) == len(names), "the same name twice")
        must(all(m.compress_type == zipfile.ZIP_STORED for m in members), "compressed parts")
        must(sum(m.file_size for m in members) <= len(data), "more than its size")
        for name in set(names) - {"schema.json"}:
            _check_array(file.read(name))
        schema = json.loads(file.read("schema.json"))
    # Files of older protocols are read by older code: ours are all of this one.
    must(schema["protocol"] == PROTOCOL, "another protocol")
    for node in _nodes(schema):
        must(node.keys() >= NODE, "a part without a type")
        # Of parts with one number skops builds the first alone: without numbers, what is checked is what is built.
        must("__id__" not in node, "a part with a number")
        kind = (node["__loader__"], f"{node['__module__']}.{node['__class__']}")
        must(kind in allowed, f"the type {kind[1]}, which is not allowed")
        if kind[0] == "NdArrayNode":
            must(node["type"] == "numpy" and node["file"] in names, "an array that is not there")
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
    must(np.lib.format.read_magic(stream) == (1, 0), "an array of another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    must(not dtype.hasobject, "an array of objects")
    must(all(length >= 0 for length in shape), "an array of negative length")
    must(stream.tell() + math.prod(shape) * dtype.itemsize == len(data), "an array of another length")


def _check_tree_arguments(node: Mapping[str, Any], dim: int) -> None:
    """Check what skops calls the constructor of a tree with: features, classes of each output, outputs."""
    features, _, outputs = node["__reduce__"]["args"]["content"]
    must(json.loads(features["content"]) == dim, "a tree of other features")
    must(json.loads(outputs["content"]) == 1, "a tree of several outputs")


# -- what compiled code relies on ----------------------------------------------------------------------------------


def _check_linear(model: Any, dim: int) -> None:
    must(
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
    must(all(_is(getattr(model, name), shape) for name, shape in shapes.items()), "other support vectors")
    must(_is(model.support_, (count,), np.int32) and _is(model._n_support, (2,), np.int32), "other counts")
    must((model._n_support >= 0).all() and model._n_support.sum() == count, "other counts")
    must(model._sparse is False and model.shape_fit_[1] == dim, "another number of features")


def _check_forest(model: Any, dim: int) -> None:
    must(model.n_outputs_ == 1 and model.n_classes_ == 2, "other outputs")
    must(len(model.estimators_) == model.n_estimators, "another number of trees")
    for part in model.estimators_:
        must(part.n_outputs_ == 1 and part.n_classes_ == 2 and part.n_features_in_ == dim, "other trees")
        _check_tree(part.tree_, dim)


def _check_tree(tree: Any, dim: int) -> None:
    # First: whoever reads a tree's arrays reads as many nodes as it says, whether it has them or not.
    must(tree.node_count == tree.capacity >= 1, "a tree of another size")
    must((tree.n_features, tree.n_outputs, list(tree.n_classes)) == (dim, 1, [2]), "another tree")
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    check_children(left, right, feature, dim=dim)
    must(_is(tree.value, (len(left), 1, 2)), "other values")


def _is(values: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> bool:
    return isinstance(values, np.ndarray) and values.shape == shape and np.issubdtype(values.dtype, dtype)


CHECKS: Mapping[str, Callable[[Any, int], None]] = {
    "logistic_regression": _check_linear,
    "svc": _check_svc,
    "random_forest": _check_forest,
}
