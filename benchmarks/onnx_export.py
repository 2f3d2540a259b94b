"""A detector's classifier and extractor as ONNX files, each checked against Python before it is left on disk.

Two files, each with a description beside it (``<name>.json``):

- a classifier: ``features`` (n, dim) float32 -> ``score`` (n,) float32, the mean of the fold models' scores;
- an extractor: ``faces`` (n, s, s, 3) uint8 RGB -> ``features`` (n, dim) float32.

A score is compared as float32 with the threshold rounded to float32: ``score >= threshold_float32`` is fake (1).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.onnx_files import check_installed, differs, open_session, run_session, sidecar
from benchmarks.onnx_precision import score_error
from classify.fitting import FoldModels, Matrix
from classify.metrics import Floats
from classify.models import CLASSIFIERS
from extract.errors import RequestError, first_line
from extract.extractors import Extractor, FrozenNetwork
from extract.files import hash_file, remove, write_bytes, write_json
from extract.media.frames import Image

CONVERTERS = ("onnx", "onnxmltools", "onnxruntime", "skl2onnx")
PACKAGES = ("deepfake-transfer-bench", "numpy", *CONVERTERS, "scikit-learn", "torch", "xgboost")
DECISION = "score >= threshold is fake (1), below it real (0)"
COMPARISON = "compare the float32 score with threshold_float32"
ROWS = 1024  # scored at a time: an SVC's graph holds rows x support vectors
FACES = 16
FEATURE_TOLERANCE = 1e-3  # of the largest feature, for the median face


@dataclass(frozen=True)
class Parity:
    """How an exported classifier compares with `FoldModels.score` on some rows.

    Attributes
    ----------
    rows : int
    largest_difference : float
        Of the scores.
    band : float
        Largest distance from the threshold, over the rows, at which rounding can decide the label.
    rows_in_band, labels_that_differ : int
        Rows whose score is that near to the threshold, and those of them with another label than in Python.
    """

    rows: int
    largest_difference: float
    band: float
    rows_in_band: int
    labels_that_differ: int


@dataclass(frozen=True)
class FeatureParity:
    """How an exported extractor compares with the extractor on some faces, in shares of the largest feature.

    A binary network (ReActNet-A) turns last bits into signs: of 16 faces at 224 pixels four came out up to 3 %
    apart, as they do between torch's own kernels and between its float32 and float64; the others 4e-7. Other
    networks differ by less than 1e-5 on every face. A graph that is wrong differs on all: the median face decides.

    Attributes
    ----------
    faces : int
    median_difference, largest_difference : float
        Over the faces, of each face's largest difference.
    """

    faces: int
    median_difference: float
    largest_difference: float


def export_classifier(
    models: FoldModels,
    path: Path,
    *,
    X: Matrix,
    threshold: float,
    rule: str,
    level: str,
    aggregate: str,
    more: Mapping[str, str] | None = None,
) -> Parity:
    """Write fold models and their threshold as ``path`` and ``path.json``, and check the file on real rows.

    Parameters
    ----------
    X : (n, dim) float32
        Rows to check the written file on, see `check_parity`; they are not written.
    threshold : float
        A score at or above it is called fake.
    rule, level, aggregate : str
        What chose the threshold, at which level it applies, and how faces' scores become a clip's.
    more : mapping, optional
        Further entries for the file's metadata.

    Raises
    ------
    RequestError
        The extra is missing; models that have no graph; a file that does not agree with Python, which is removed.
    """
    check_installed()
    from benchmarks.onnx_scores import score_model

    model = score_model(models, dim=X.shape[1])
    described = _describe(models, X.shape[1], threshold=threshold)
    described |= {"rule": rule, "level": level, "aggregate": aggregate, **(more or {})}
    for key, value in described.items():
        model.metadata_props.add(key=key, value=str(value))
    write_bytes(path, model.SerializeToString())
    try:
        parity = check_parity(models, path, X=X, threshold=threshold)
    except BaseException:
        remove(path)
        raise
    write_json(sidecar(path), {**described, "sha256": hash_file(path), "parity": asdict(parity)})
    return parity


def check_parity(models: FoldModels, path: Path, *, X: Matrix, threshold: float) -> Parity:
    """Run a written classifier over rows (n, dim) float32 by onnxruntime and compare it with Python.

    Raises
    ------
    RequestError
        No rows; the file states another threshold; scores differ by more than rounding explains; or a label differs
        on a row whose score is farther from the threshold than single precision can tell.
    """
    if not len(X):
        raise RequestError(
            "Expected rows to check an exported classifier on; got none. Give it some features.",
            code="E_EXPORT",
        )
    session = open_session(path)
    stated = session.get_modelmeta().custom_metadata_map
    if float(stated.get("threshold", "nan")) != threshold:
        raise differs(path, f"states the threshold {stated.get('threshold')}, not {threshold!r}")
    exported = run_session(session, "features", X, step=ROWS)
    score = models.score(X)
    error = score_error(models, X)
    alike = np.abs(exported - score) <= error  # false for NaN
    if not alike.all():
        raise differs(path, f"scores {np.sum(~alike)} of {len(X)} rows otherwise")
    # Rounding the threshold to float32 moves it by less than one spacing.
    band = error + float(np.spacing(np.float32(abs(threshold))))
    return _labels(path, exported, score, band=band, threshold=threshold)


def export_extractor(extractor: Extractor, path: Path, *, faces: Image | None = None) -> FeatureParity:
    """Write an extractor's network as ``path`` and ``path.json``, and check the file on faces.

    The input side is the network's (`extract.onnx_network.input_side`): 224 unless the suite says otherwise, as
    that of stored faces. Faces of another side are to be resized as `FacesToFeatures.preprocess` does.

    Parameters
    ----------
    faces : (n, s, s, 3) uint8 RGB, optional
        Faces to compare the features of; seeded noise where none are given.

    Raises
    ------
    RequestError
        The extra is missing; a network that torch.onnx cannot export, or whose exported features differ, on
        the median face, by more than `FEATURE_TOLERANCE`. No file is left; ``path.json`` says why.
    """
    check_installed()
    try:
        frozen = _frozen(extractor)
        write_bytes(path, _network_bytes(frozen))
        parity = _feature_parity(frozen, path, faces=faces)
    except RequestError as error:
        remove(path)
        write_json(sidecar(path), {"extractor": extractor.name, "exported": False, "reason": str(error)})
        raise
    write_json(sidecar(path), _describe_extractor(frozen, path) | {"parity": asdict(parity)})
    return parity


# -- the classifier ------------------------------------------------------------------------------------------


def _describe(models: FoldModels, dim: int, *, threshold: float) -> dict[str, Any]:
    """Return what a reader of the file must know; floats are written so that they read back to the same bits."""
    return {
        "input": f"features (n, {dim}) float32, finite",
        "output": "score (n,) float32, higher = more likely fake",
        "classifier": models.classifier,
        "score": f"mean {CLASSIFIERS[models.classifier].output} of {len(models.models)} fold models",
        "threshold": float(threshold),
        "threshold_float32": float(np.float32(threshold)),
        "decision": DECISION,
        "comparison": COMPARISON,
        **{f"version {name}": version(name) for name in PACKAGES},
    }


def _labels(path: Path, exported: Any, score: Floats, *, band: Floats, threshold: float) -> Parity:
    differ = (exported >= np.float32(threshold)) != (score >= threshold)
    near = np.abs(score - threshold) <= band
    if (differ & ~near).any():
        raise differs(path, f"labels {np.sum(differ & ~near)} of {len(score)} rows otherwise")
    largest = float(np.abs(exported - score).max(initial=0))
    return Parity(len(score), largest, float(band.max(initial=0)), int(near.sum()), int(differ.sum()))


# -- the extractor -------------------------------------------------------------------------------------------


def _frozen(extractor: Extractor) -> FrozenNetwork:
    if isinstance(extractor, FrozenNetwork):
        return extractor
    raise RequestError(
        f"Expected a network that torch.onnx exports; got {extractor.name} (a plugin, whose code is its own). "
        "Leave out --onnx-extractor, or use the detector from Python.",
        code="E_EXPORT",
    )


def _network_bytes(extractor: FrozenNetwork) -> bytes:
    from extract.onnx_network import network_to_onnx

    return network_to_onnx(extractor)


def _feature_parity(extractor: FrozenNetwork, path: Path, *, faces: Image | None) -> FeatureParity:
    from extract.onnx_network import input_side
    from extract.torch_backend import TorchBackend

    side = input_side(extractor)
    if faces is None:
        faces = np.random.default_rng(0).integers(0, 256, (FACES, side, side, 3), dtype=np.uint8)
    if faces.shape[1] != side:
        raise RequestError(
            f"Expected faces of {side} pixels to check the export on; got {faces.shape[1]}. Resize them.",
            code="E_EXPORT",
        )
    try:
        exported = run_session(open_session(path), "faces", faces, step=FACES)
    except Exception as error:  # onnxruntime's, of many types: an operator that it lacks
        raise differs(path, f"does not run ({first_line(error)})") from error
    features = TorchBackend(extractor.prepared, precision="fp32")(faces)  # what was exported
    apart = np.abs(exported - features).max(axis=1) / np.abs(features).max()
    parity = FeatureParity(len(faces), float(np.median(apart)), float(apart.max()))
    if not parity.median_difference <= FEATURE_TOLERANCE:
        raise differs(path, f"gives features that differ by {parity.median_difference:.2g} of the largest")
    return parity


def _describe_extractor(extractor: FrozenNetwork, path: Path) -> dict[str, Any]:
    from extract.onnx_network import input_side

    side = input_side(extractor)
    return {
        "extractor": extractor.name,
        "exported": True,
        "input": f"faces (n, {side}, {side}, 3) uint8 RGB, already of this size",
        "output": f"features (n, {extractor.dim}) float32",
        "fingerprint": extractor.fingerprint,
        "weights": extractor.weights_source,
        **{f"version {name}": version(name) for name in ("deepfake-transfer-bench", "timm", "torch", "onnx")},
        "sha256": hash_file(path),
    }
