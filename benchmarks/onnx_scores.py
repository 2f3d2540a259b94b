"""The mean score of fold models as one ONNX graph, by the converters of scikit-learn (skl2onnx) and XGBoost.

Each fold model is converted, its names are prefixed, and the graphs are joined on one input. The converters'
operators compute in single precision; `benchmarks.onnx_precision` bounds what that costs.
"""

import warnings
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, compose, helper
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as FloatRows
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

from classify.fitting import FoldModels
from classify.models import CLASSIFIERS, fitted_as
from extract.errors import RequestError

OPSET, IR_VERSION = 15, 8  # the newest that onnxmltools writes, and the file format of its time
OPTIONS = {  # of skl2onnx: an array in place of a dictionary a row, distances in place of probabilities
    "logistic_regression": {"zipmap": False, "raw_scores": True},
    "svc": {"zipmap": False, "raw_scores": True},
    "random_forest": {"zipmap": False},
}
CONVERTED = (*OPTIONS, "xgboost")


def score_model(models: FoldModels, *, dim: int) -> ModelProto:
    """Build the ONNX model of `FoldModels.score`: ``features`` (n, dim) float32 -> ``score`` (n,) float32.

    Raises
    ------
    RequestError
        Features of another length, a kernel matrix in place of support vectors, a classifier without a converter.
    """
    check_exportable(models, dim=dim)
    parts = [
        compose.add_prefix(
            _converted(fitted_as(models.classifier), model, dim), f"fold{k}_", rename_inputs=False
        )
        for k, model in enumerate(models.models)
    ]
    graph = helper.make_graph(
        [node for part in parts for node in part.graph.node] + _mean([p.graph.output[1].name for p in parts]),
        "deepfake_score",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", dim])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
        initializer=[constant for part in parts for constant in part.graph.initializer],
    )
    opsets = {opset.domain: opset.version for part in parts for opset in part.opset_import} | {"": OPSET}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*opset) for opset in opsets.items()],
        ir_version=IR_VERSION,
        producer_name="deepfake-transfer-bench",
    )
    if model.ByteSize() >= 2**31:  # a limit of the format, and of the checker
        raise RequestError(
            f"Expected a model below 2 GiB, the most that one ONNX file holds; got {model.ByteSize() / 2**30:.1f} GiB. "
            "Export a classifier with fewer trees or support vectors.",
            code="E_EXPORT",
        )
    onnx.checker.check_model(model, full_check=True)
    return model


def check_exportable(models: FoldModels, *, dim: int) -> None:
    """Refuse fold models that `score_model` cannot express; `RequestError`."""
    if models.classifier not in CLASSIFIERS or fitted_as(models.classifier) not in CONVERTED:
        raise RequestError(
            f"Expected a classifier with an ONNX converter: {', '.join(CONVERTED)}; got {models.classifier!r}. "
            "Use the detector from Python.",
            code="E_EXPORT",
        )
    for model in models.models:
        if getattr(model, "kernel", None) == "precomputed":
            raise RequestError(
                "Expected an SVC with support vectors; got one fitted on a kernel matrix, which knows the numbers of "
                "its training rows alone. Fit it on the features.",
                code="E_EXPORT",
            )
        if model.n_features_in_ != dim:
            raise RequestError(
                f"Expected models of {dim} features; got one of {model.n_features_in_}. Export with its extractor.",
                code="E_EXPORT",
            )


def _converted(classifier: str, model: Any, dim: int) -> ModelProto:
    """Convert one fold model: ``features`` (n, dim) -> labels (n,), and scores (n, 2) of real and of fake."""
    if classifier == "xgboost":
        # It takes a probability for log odds where the first tree is a single leaf of 0, as on constant features:
        # scores at least 0.12 off, which the check of the file refuses.
        names = [("features", FloatRows([None, dim]))]
        boosted: ModelProto = convert_xgboost(model, initial_types=names, target_opset=OPSET)
        return boosted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it reads probA_, deprecated in scikit-learn 1.9
        names = [("features", FloatTensorType([None, dim]))]
        options = {id(model): OPTIONS[classifier]}
        fitted: ModelProto = convert_sklearn(model, initial_types=names, options=options, target_opset=OPSET)
    return fitted


def _mean(scores: list[str]) -> list[NodeProto]:
    """Average the fold models' scores (n, 2) and keep the second column: ``score`` (n,)."""
    return [
        helper.make_node("Mean", scores, ["mean"]),
        helper.make_node("Constant", [], ["fake"], value_int=1),
        helper.make_node("Gather", ["mean", "fake"], ["score"], axis=1),
    ]
