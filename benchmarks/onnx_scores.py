"""The mean score of fold models as one ONNX graph.

The graph computes in float64 and rounds once, at its output. scikit-learn scores in float64 too, and the
converters' single-precision operators do not: on 600 rows whose features differ in scale by three orders, a linear
SVC's decision values came out 2e-3 off, enough to change labels. Float32 features are exact in float64, so a row
that lies exactly at a tree's threshold goes the way that it goes in Python.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.onnx_trees import Tree, boosted_trees, forest_trees
from classify.fitting import FoldModels
from extract.errors import RequestError

# What the operators need, not what the newest onnx would write: onnxruntime 1.20 (2024) reads it.
OPSETS = {"": 20, "ai.onnx.ml": 5}
IR_VERSION = 10
ROUTES = {"left at or below the threshold": 0, "left below the threshold": 1}  # BRANCH_LEQ, BRANCH_LT


@dataclass
class Builder:
    """Nodes and constants of a graph in the making; `prefix` keeps the names of fold models apart."""

    prefix: str = ""
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node of one output; return the output's name."""
        name = f"{self.prefix}{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Append an array; return its name."""
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def widen(self, name: str) -> str:
        return self.add("Cast", [name], to=TensorProto.DOUBLE)


def score_model(models: FoldModels, *, dim: int) -> ModelProto:
    """Build the ONNX model of `FoldModels.score`: ``features`` (n, dim) float32 -> ``score`` (n,) float32.

    Raises
    ------
    RequestError
        Features of another length, a kernel matrix in place of support vectors, a classifier without a graph.
    """
    check_exportable(models, dim=dim)
    build = GRAPHS[models.classifier]
    graph = Builder()
    X = graph.widen("features")
    scores = [build(_renamed(graph, f"fold{k}_"), X, model) for k, model in enumerate(models.models)]
    # (n, 1); not `Mean`, which onnxruntime has in float32 alone
    mean = graph.add("Div", [graph.add("Sum", scores), _number(graph, len(scores))])
    flat = graph.add("Reshape", [mean, graph.constant(np.array([-1], np.int64))])
    graph.nodes.append(helper.make_node("Cast", [flat], ["score"], name="score", to=TensorProto.FLOAT))
    return _model(_graph(graph, dim))


def check_exportable(models: FoldModels, *, dim: int) -> None:
    """Refuse fold models that `score_model` cannot express; `RequestError`."""
    if models.classifier not in GRAPHS:
        raise RequestError(
            f"Expected a classifier with an ONNX graph: {', '.join(GRAPHS)}; got {models.classifier!r}. "
            "Use the detector from Python."
        )
    for model in models.models:
        if getattr(model, "kernel", None) == "precomputed":
            raise RequestError(
                "Expected an SVC with support vectors; got one fitted on a kernel matrix, which knows the numbers of "
                "its training rows alone. Fit it on the features."
            )
        if model.n_features_in_ != dim:
            raise RequestError(
                f"Expected models of {dim} features; got one of {model.n_features_in_}. Export with its extractor."
            )


def _renamed(graph: Builder, prefix: str) -> Builder:
    return Builder(prefix, graph.nodes, graph.constants)


def _graph(graph: Builder, dim: int) -> GraphProto:
    return helper.make_graph(
        graph.nodes,
        "deepfake_score",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", dim])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
        initializer=graph.constants,
    )


def _model(graph: GraphProto) -> ModelProto:
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="deepfake-transfer-bench"
    )
    if model.ByteSize() >= 2**31:  # a limit of the format, and of the checker
        raise RequestError(
            f"Expected a model below 2 GiB, the most that one ONNX file holds; got {model.ByteSize() / 2**30:.1f} GiB. "
            "Export a classifier with fewer trees or support vectors."
        )
    onnx.checker.check_model(model, full_check=True)
    return model


# -- one fold model: X (n, d) float64 -> score (n, 1) float64 ------------------------------------------------


def _logistic_regression(graph: Builder, X: str, model: Any) -> str:
    weights = graph.constant(model.coef_.T.astype(np.float64))
    return graph.add("Add", [graph.add("MatMul", [X, weights]), _number(graph, model.intercept_[0])])


def _svc(graph: Builder, X: str, model: Any) -> str:
    """Sum of dual coefficients times kernel values; of two classes, scikit-learn's public ones point to class 1."""
    kernel = _kernel(graph, X, model)
    weighted = graph.add("MatMul", [kernel, graph.constant(model.dual_coef_.T)])
    return graph.add("Add", [weighted, _number(graph, model.intercept_[0])])


def _kernel(graph: Builder, X: str, model: Any) -> str:
    vectors = model.support_vectors_
    products = graph.add("MatMul", [X, graph.add("Transpose", [_narrow(graph, vectors)], perm=[1, 0])])
    if model.kernel == "linear":
        return products
    gamma = model._gamma  # "scale" and "auto" as a number: scikit-learn keeps it nowhere else
    if model.kernel == "rbf":
        return graph.add(
            "Exp", [graph.add("Mul", [_distances(graph, X, products, vectors), _number(graph, -gamma)])]
        )
    # One number a vector: onnxruntime would fuse a single one into the product, as a float32 (MatMulScaleFusion).
    scaled = graph.add("Mul", [products, graph.constant(np.full((1, len(vectors)), gamma))])
    moved = graph.add("Add", [scaled, _number(graph, model.coef0)])
    return (
        graph.add("Tanh", [moved])
        if model.kernel == "sigmoid"
        else graph.add("Pow", [moved, _number(graph, model.degree)])
    )


def _distances(graph: Builder, X: str, products: str, vectors: Any) -> str:
    """Squared distances |x|^2 - 2 x s + |s|^2, at least 0 as rounding may take them below."""
    rows = graph.add("ReduceSumSquare", [X, graph.constant(np.array([1], np.int64))], keepdims=1)
    lengths = graph.constant(np.square(vectors).sum(axis=1)[None])
    minus = graph.add("Mul", [products, _number(graph, -2)])
    distances = graph.add("Add", [graph.add("Add", [rows, minus]), lengths])
    return graph.add("Max", [distances, _number(graph, 0)])


def _narrow(graph: Builder, vectors: Any) -> str:
    """Support vectors are rows of float32 features: stored as such they take half the file."""
    narrow = vectors.astype(np.float32)
    if np.array_equal(narrow, vectors):
        return graph.widen(graph.constant(narrow))
    return graph.constant(vectors)


def _random_forest(graph: Builder, X: str, model: Any) -> str:
    trees = forest_trees(model)
    total = _ensemble(graph, X, trees, route="left at or below the threshold")
    return graph.add("Div", [total, _number(graph, len(trees))])


def _xgboost(graph: Builder, X: str, model: Any) -> str:
    trees, base = boosted_trees(model)
    total = _ensemble(graph, X, trees, route="left below the threshold")
    return graph.add("Sigmoid", [graph.add("Add", [total, _number(graph, base)])])


def _number(graph: Builder, value: float) -> str:
    return graph.constant(np.float64(value))


def _ensemble(graph: Builder, X: str, trees: Sequence[Tree], *, route: str) -> str:
    """Sum of the leaves that rows end in: (n, 1) float64.

    `TreeEnsemble` (ai.onnx.ml 5) and not `TreeEnsembleRegressor`, whose output is float32 whatever goes in.
    """
    return graph.add("TreeEnsemble", [X], domain="ai.onnx.ml", **_tables(trees, ROUTES[route]))


def _tables(trees: Sequence[Tree], mode: int) -> dict[str, Any]:
    """Lay trees out as the operator reads them: splits in one table, leaves in another, one after the other."""
    splits = [np.flatnonzero(~tree.leaf) for tree in trees]
    leaves = [np.flatnonzero(tree.leaf) for tree in trees]
    starts = np.cumsum([0, *map(len, splits)])
    leaf_starts = np.cumsum([0, *map(len, leaves)])
    # Of each node: its line in the table that it belongs to.
    lines = [
        np.where(t.leaf, np.cumsum(t.leaf) - 1 + leaf_starts[k], np.cumsum(~t.leaf) - 1 + starts[k])
        for k, t in enumerate(trees)
    ]

    def of_splits(values: Callable[[int], Any]) -> Any:
        return np.concatenate([np.asarray(values(k))[rows] for k, rows in enumerate(splits)])

    weights = np.concatenate([tree.value[rows] for tree, rows in zip(trees, leaves, strict=True)])
    return {
        "aggregate_function": 1,  # SUM
        "post_transform": 0,  # NONE
        "n_targets": 1,
        "tree_roots": starts[:-1].tolist(),
        "nodes_featureids": of_splits(lambda k: trees[k].feature).tolist(),
        "nodes_splits": _tensor(of_splits(lambda k: trees[k].threshold), "splits"),
        "nodes_modes": _tensor(np.full(starts[-1], mode, np.uint8), "modes"),
        "nodes_truenodeids": of_splits(lambda k: lines[k][trees[k].left]).tolist(),
        "nodes_falsenodeids": of_splits(lambda k: lines[k][trees[k].right]).tolist(),
        "nodes_trueleafs": of_splits(lambda k: trees[k].leaf[trees[k].left]).astype(int).tolist(),
        "nodes_falseleafs": of_splits(lambda k: trees[k].leaf[trees[k].right]).astype(int).tolist(),
        "leaf_targetids": [0] * len(weights),
        "leaf_weights": _tensor(weights, "weights"),
    }


def _tensor(values: Any, name: str) -> TensorProto:
    return numpy_helper.from_array(values, name)


GRAPHS: Mapping[str, Callable[[Builder, str, Any], str]] = {
    "logistic_regression": _logistic_regression,
    "svc": _svc,
    "random_forest": _random_forest,
    "xgboost": _xgboost,
}
