"""Exported classifiers give the labels that Python gives; exported networks its features; neither in silence if not."""

import importlib.util
import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from benchmarks import onnx_export
from benchmarks.onnx_export import (
    check_parity,
    export_classifier,
    export_extractor,
)
from benchmarks.onnx_files import sidecar
from benchmarks.onnx_precision import score_error
from benchmarks.onnx_scores import CONVERTED, score_model
from classify.fitting import FoldModels
from classify.models import CLASSIFIERS, fitted_as, installed
from classify.rules import RULES
from classify.thresholds import tune_threshold
from extract.compute import ComputeSettings
from extract.errors import RequestError
from extract.extractors import ExtractorSettings, FrozenNetwork, Recipe, load_extractor
from extract.networks import NETWORKS, Network
from extract.reactnet import Block, Stem
from extract.weights import Blueprint, WeightSettings

RANDOM = WeightSettings(policy="random")
DIM, FOLDS, TRAINED = 24, 3, 250

POINTS = {
    "logistic_regression": [{"C": 1e-3}, {"C": 1.0}, {"C": 1e3}],
    "svc": [
        *(
            {"C": C, "kernel": kernel, "gamma": gamma}
            for kernel in ("poly", "rbf", "sigmoid")
            for C, gamma in ((0.01, "scale"), (100.0, "scale"), (1.0, 0.03))
        ),
        {"C": 1.0, "kernel": "rbf", "gamma": "auto"},
        {"C": 0.01, "kernel": "linear"},
        {"C": 10.0, "kernel": "linear"},
    ],
    "random_forest": [
        {"n_estimators": 12, "max_depth": None},
        {"n_estimators": 7, "max_depth": 2, "max_features": 0.5},
        {"n_estimators": 10, "max_depth": None, "min_samples_leaf": TRAINED},  # trees that never split
    ],
    "xgboost": [
        {"n_estimators": 20, "max_depth": 1},
        {"n_estimators": 20, "max_depth": 6, "colsample_bytree": 0.5, "learning_rate": 0.3},
        {"n_estimators": 3, "max_depth": 2, "learning_rate": 1e-6},
    ],
}
if "svc_onedal" in installed():
    POINTS |= {"svc_onedal": [{"C": 1.0}], "random_forest_onedal": [{"n_estimators": 12}]}
EVERY = [pytest.param(name, point, id=f"{name}-{point}") for name in POINTS for point in POINTS[name]]


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def make_rows(kind, rng, count=400):
    """Normal features, or features of very different scale with zeros; both with duplicates."""
    X = rng.standard_normal((count, DIM)).astype(np.float32)
    if kind == "wide":
        X *= (10 ** np.linspace(-3, 1, DIM)).astype(np.float32)
        X[:, 3] = 0
        X[rng.random(X.shape) < 0.2] = 0
    X[-50:] = X[:50]
    return X


def fit(name, point, X, *, share=0.4):
    rng = np.random.default_rng(5)
    signal = X[:, -1] / X[:, -1].std() + X[:, -2] / X[:, -2].std() + rng.standard_normal(len(X))
    y = (signal > np.quantile(signal, 1 - share)).astype(np.int64)
    chosen = [rng.permutation(len(X))[:TRAINED] for _ in range(FOLDS)]
    fitted = [CLASSIFIERS[name].build(point, 7).fit(X[rows], y[rows]) for rows in chosen]
    return FoldModels(name, tuple(fitted)), y


def splits_of(model):
    """Pairs of feature and threshold."""
    if hasattr(model, "estimators_"):
        trees = [estimator.tree_ for estimator in model.estimators_]
        return [(f, t) for tree in trees for f, t in zip(tree.feature, tree.threshold, strict=True) if f >= 0]
    if not hasattr(model, "get_booster"):
        return []
    nodes = model.get_booster().trees_to_dataframe()
    nodes = nodes[nodes["Feature"] != "Leaf"]
    return [(int(name[1:]), t) for name, t in zip(nodes["Feature"], nodes["Split"], strict=True)]


def with_ties(models, X, rng, count=300):
    """Rows with a feature at a tree's threshold, as float32, and at both neighbours."""
    splits = [split for model in models.models for split in splits_of(model)]
    if not splits:
        return X
    rows = X[rng.integers(0, len(X), count)].copy()
    for row, number in zip(rows, rng.integers(0, len(splits), count), strict=True):
        feature, threshold = splits[number]
        near = np.float32(threshold)
        row[feature] = np.nextafter(near, np.float32(rng.choice([near, np.inf, -np.inf])))
    return np.concatenate([X, rows])


def export(models, path, X, threshold, **changes):
    words = {"rule": "f1", "level": "image", "aggregate": "mean", **changes}
    return export_classifier(models, path, X=X, threshold=threshold, **words)


@pytest.fixture
def small(rng, tmp_path):
    X = make_rows("normal", rng)
    models, y = fit("logistic_regression", {"C": 1.0}, X)
    threshold = tune_threshold(y, models.score(X), rule="f1").value
    path = tmp_path / "classifier.onnx"
    export(models, path, X, threshold)
    return models, path, X, threshold


# -- contract ------------------------------------------------------------------------------------------------


def test_every_classifier_is_tried():
    assert set(POINTS) == set(installed())
    assert {fitted_as(name) for name in CLASSIFIERS} == set(CONVERTED)


@pytest.mark.parametrize("kind", ["normal", "wide"])
@pytest.mark.parametrize(("name", "point"), EVERY)
def test_labels_agree_outside_what_single_precision_can_tell(name, point, kind, rng, tmp_path):
    X = make_rows(kind, rng)
    models, y = fit(name, point, X)
    rows = with_ties(models, X, rng)
    score = models.score(rows)
    threshold = tune_threshold(y, score[: len(X)], rule="f1").value
    parity = export(models, tmp_path / "c.onnx", rows, threshold)
    assert parity.rows == len(rows)
    assert parity.labels_that_differ <= parity.rows_in_band
    if np.ptp(score) > 1e-5:  # else it is a constant, or one for single precision
        # A linear SVC's sum over support vectors cancels where features differ in scale by four orders.
        share = 0.15 if (point.get("kernel"), kind) == ("linear", "wide") else 0.05
        assert parity.rows_in_band <= share * len(rows)


@pytest.mark.parametrize("rule", list(RULES))
def test_every_rule_of_choosing_a_threshold_is_tried(small, rule, rng, tmp_path):
    models, _, X, _ = small
    y = (X[:, -1] > 0).astype(np.int64)
    threshold = tune_threshold(y, models.score(X), rule=rule).value
    assert export(models, tmp_path / "c.onnx", X, threshold, rule=rule).rows_in_band <= 3


@pytest.mark.parametrize("options", [{"base_score": 0.1}, {"scale_pos_weight": 20.0}, {}], ids=str)
@pytest.mark.parametrize("share", [0.03, 0.97])
def test_xgboost_starts_from_its_base_score(options, share, rng, tmp_path):
    X = make_rows("normal", rng)
    models, _ = fit("xgboost", {"n_estimators": 5, **options}, X, share=share)
    assert export(models, tmp_path / "c.onnx", X, 0.5).largest_difference < 1e-6


def test_a_booster_that_its_converter_gets_wrong_is_refused(rng, tmp_path):
    X = make_rows("normal", rng)
    models, _ = fit("xgboost", {"n_estimators": 5, "min_child_weight": 1e6, "base_score": 0.3}, X, share=0.3)
    with pytest.raises(RequestError, match="scores 400 of 400 rows otherwise"):
        export(models, tmp_path / "c.onnx", X, 0.5)


def test_a_row_at_the_threshold_is_fake(small, tmp_path):
    models, _, X, _ = small
    threshold = float(models.score(X)[17])
    export(models, tmp_path / "c.onnx", X, threshold)


def test_a_check_on_no_rows_is_refused(small):
    models, path, X, threshold = small
    with pytest.raises(RequestError, match="Expected rows to check an exported classifier on; got none"):
        check_parity(models, path, X=X[:0], threshold=threshold)


@pytest.mark.parametrize("rows", [1, 3])
def test_any_number_of_rows_is_taken(small, rows):
    models, path, X, threshold = small
    assert check_parity(models, path, X=X[:rows], threshold=threshold).rows == rows


def test_the_band_covers_both_ways_to_compare(small):
    models, path, X, threshold = small
    band = check_parity(models, path, X=X, threshold=threshold).band
    assert band > score_error(models, X).max() + abs(np.float32(threshold) - threshold)


# -- the file ------------------------------------------------------------------------------------------------


def test_the_graph_has_one_input_and_one_output(small):
    graph = onnx.load(small[1]).graph
    assert [value.name for value in graph.input] == ["features"]
    assert [value.name for value in graph.output] == ["score"]
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [0, DIM]
    names = [name for node in graph.node for name in node.output]
    assert len(set(names)) == len(names)


def test_the_file_and_its_description_say_the_same(small, tmp_path):
    models, path, X, threshold = small
    parity = export(models, path, X, threshold, rule="eer", level="video", more={"detector": "tried"})
    inside = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    beside = json.loads(sidecar(path).read_text())
    assert inside == {key: str(value) for key, value in beside.items() if key not in ("parity", "sha256")}
    assert float(inside["threshold"]) == threshold
    assert float(inside["threshold_float32"]) == np.float32(threshold)
    assert (inside["rule"], inside["level"], inside["aggregate"]) == ("eer", "video", "mean")
    assert inside["decision"] == "score >= threshold is fake (1), below it real (0)"
    assert inside["score"] == f"mean decision_function of {FOLDS} fold models"
    assert inside["detector"] == "tried"
    assert inside["version onnx"] == onnx.__version__
    assert beside["parity"]["rows"] == parity.rows == len(X)


@pytest.mark.parametrize("name", POINTS)
def test_the_same_models_give_the_same_bytes(name, rng):
    models, _ = fit(name, POINTS[name][0], make_rows("normal", rng))
    first, second = (score_model(models, dim=DIM).SerializeToString() for _ in range(2))
    assert first == second


# -- tampering -----------------------------------------------------------------------------------------------


def attributes(model, name):
    return [each for node in model.graph.node for each in node.attribute if each.name == name]


def negate_weights(model):
    weights = attributes(model, "coefficients")[0].floats
    weights[:] = [-weight for weight in weights]


def shift_scores(model):
    intercepts = attributes(model, "intercepts")[1].floats
    intercepts[:] = [intercept + 0.01 for intercept in intercepts]


def change_threshold(model):
    (entry,) = [entry for entry in model.metadata_props if entry.key == "threshold"]
    entry.value = repr(float(entry.value) + 1e-6)


def forget_threshold(model):
    del model.metadata_props[:]


TAMPERED = {
    negate_weights: r"scores \d+ of 400 rows otherwise",
    shift_scores: r"scores 400 of 400 rows otherwise",
    change_threshold: r"states the threshold .*, not ",
    forget_threshold: r"states the threshold None, not ",
}


@pytest.mark.parametrize(
    ("tamper", "message"), TAMPERED.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_file_that_was_changed_is_refused(small, tamper, message):
    models, path, X, threshold = small
    model = onnx.load(path)
    tamper(model)
    onnx.save(model, path)
    with pytest.raises(RequestError, match=message):
        check_parity(models, path, X=X, threshold=threshold)


@pytest.mark.parametrize("name", ["random_forest", "xgboost"])
def test_a_comparison_of_the_other_kind_is_noticed_on_rows_at_the_thresholds(name, rng, tmp_path):
    X = make_rows("normal", rng)
    models, _ = fit(name, POINTS[name][1], X)
    rows = with_ties(models, X, rng)
    path = tmp_path / "c.onnx"
    export(models, path, rows, 0.5)
    model = onnx.load(path)
    other = {b"BRANCH_LEQ": b"BRANCH_LT", b"BRANCH_LT": b"BRANCH_LEQ", b"LEAF": b"LEAF"}
    for modes in attributes(model, "nodes_modes"):
        modes.strings[:] = [other[mode] for mode in modes.strings]
    onnx.save(model, path)
    with pytest.raises(RequestError, match=r"scores \d+ of \d+ rows otherwise"):
        check_parity(models, path, X=rows, threshold=0.5)


def test_an_export_that_fails_its_check_leaves_no_file(small, tmp_path, monkeypatch):
    models, _, X, threshold = small
    other, _ = fit("logistic_regression", {"C": 1e-3}, X)
    monkeypatch.setattr("benchmarks.onnx_scores.score_model", lambda *a, **k: score_model(other, dim=DIM))
    with pytest.raises(RequestError, match="agrees with the models it was made from"):
        export(models, tmp_path / "bad.onnx", X, threshold)
    assert not (tmp_path / "bad.onnx").exists()
    assert not sidecar(tmp_path / "bad.onnx").exists()


# -- refusals ------------------------------------------------------------------------------------------------


def test_an_svc_on_a_kernel_matrix_is_refused(rng, tmp_path):
    X = make_rows("normal", rng)[:40]
    svc = CLASSIFIERS["svc"].build({"C": 1.0}, 0).set_params(kernel="precomputed")
    models = FoldModels("svc", (svc.fit(X @ X.T, np.arange(40) % 2),))
    with pytest.raises(RequestError, match=r"got one fitted on a kernel matrix.* Fit it on the features"):
        export(models, tmp_path / "c.onnx", X, 0.0)


def test_features_of_another_length_are_refused(small, tmp_path):
    models, _, X, threshold = small
    with pytest.raises(RequestError, match=f"Expected models of {DIM - 1} features; got one of {DIM}"):
        export(models, tmp_path / "c.onnx", X[:, 1:], threshold)


def test_without_the_extra_the_command_is_named(small, tmp_path, monkeypatch):
    models, _, X, threshold = small
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else found(name))
    with pytest.raises(RequestError, match=r'onnx is not installed\. Run pip install -e "\.\[onnx\]"'):
        export(models, tmp_path / "c.onnx", X, threshold)
    with pytest.raises(RequestError, match=r"onnx is not installed"):
        export_extractor(None, tmp_path / "e.onnx")


# -- extractors ----------------------------------------------------------------------------------------------

SMALLEST = {"inception_v4": 75, "deit_base": 224, "deit_small": 224}
NAMES = [
    *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS),  # five to ten seconds each
    "timm:test_convnext",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_registered_network_is_exported_with_its_features(name, tmp_path):
    settings = ExtractorSettings(name=name, size=SMALLEST.get(name, 32), weights="random")
    extractor = load_extractor(settings, weights=RANDOM)
    path = tmp_path / "extractor.onnx"
    assert export_extractor(extractor, path).median_difference < 1e-5
    beside = json.loads(sidecar(path).read_text())
    assert beside["exported"] is True
    assert beside["input"].startswith(f"faces (n, {settings.size}, {settings.size}, 3) uint8 RGB")
    assert beside["fingerprint"] == extractor.fingerprint


class Window(nn.Module):
    def reset_classifier(self, num_classes): ...

    def forward(self, x):
        return x.flatten(1)


class SomeOfReActNet(Window):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(Stem(8), Block(8, 16, stride=2), Block(16, 16, stride=1))

    def forward(self, x):
        return self.layers(x).mean((2, 3))


class Undecided(Window):
    def forward(self, x):
        return x.mean((2, 3)) if x.sum().item() > 0 else x.amax((2, 3))


def frozen(build, **settings):
    network = Network(Blueprint("window", "window", build, head="fc."), "Window")
    return FrozenNetwork(
        network, Recipe(ExtractorSettings(name="window", **settings), RANDOM, ComputeSettings())
    )


def test_binary_convolutions_are_exported(tmp_path):
    assert export_extractor(frozen(SomeOfReActNet, size=32), tmp_path / "e.onnx").median_difference < 1e-5


def test_a_crop_fraction_is_cut_in_the_graph(rng, tmp_path):
    faces = rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    path = tmp_path / "e.onnx"
    assert (
        export_extractor(frozen(Window, size=28, crop_fraction=0.875), path, faces=faces).largest_difference
        < 1e-6
    )
    assert "(n, 32, 32, 3)" in json.loads(sidecar(path).read_text())["input"]


def refused(extractor, path, message, **options):
    path.write_bytes(b"of an earlier export")
    with pytest.raises(RequestError, match=message) as caught:
        export_extractor(extractor, path, **options)
    assert not path.exists()
    beside = json.loads(sidecar(path).read_text())
    assert beside["exported"] is False
    assert beside["reason"] == str(caught.value)


def test_a_network_that_decides_by_what_it_sees_is_refused(tmp_path):
    refused(
        frozen(Undecided, size=16),
        tmp_path / "e.onnx",
        r"got window-16px \(Could not guard .*\)\. Leave out --onnx",
    )


def test_a_plugin_is_refused(tmp_path):
    class Plugin:
        name, fingerprint, dim = "mine", "1", 3

    refused(Plugin(), tmp_path / "e.onnx", r"got mine \(a plugin, whose code is its own\)\. Leave out --onnx")


def test_other_features_are_refused(tmp_path, monkeypatch):
    run = onnx_export.run_session
    monkeypatch.setattr(onnx_export, "run_session", lambda *given, **how: run(*given, **how)[::-1])
    refused(frozen(Window, size=16), tmp_path / "e.onnx", "gives features that differ by")


def test_faces_of_another_size_are_refused(tmp_path):
    faces = np.zeros((2, 20, 20, 3), np.uint8)
    refused(frozen(Window, size=16), tmp_path / "e.onnx", "Expected faces of 16 pixels", faces=faces)


def test_exporting_leaves_the_extractor_as_it_was(rng, tmp_path):
    faces = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    extractor = frozen(SomeOfReActNet, size=32)
    before = extractor(faces)
    export_extractor(extractor, tmp_path / "e.onnx")
    assert extractor(faces).tobytes() == before.tobytes()
    assert not torch.is_inference_mode_enabled()
