"""A detector's classifier and extractor as ONNX files, each checked against Python before it is left on disk.

Two files, each with a description beside it (``<name>.json``):

- a classifier: ``features`` (n, dim) float32 -> ``score`` (n,) float32, the mean of the fold models' scores;
- an extractor: ``faces`` (n, s, s, 3) uint8 RGB -> ``features`` (n, dim) float32.

A score is compared as float32 with the threshold rounded to float32: ``score >= threshold_float32`` is fake (1).
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.onnx_precision import SINGLE, score_error, single_precision_band
from classify.fitting import FoldModels, Matrix
from classify.metrics import Floats
from classify.models import CLASSIFIERS
from extract.errors import RequestError, first_line
from extract.extractors import Extractor, FrozenNetwork
from extract.files import hash_file, remove, write_bytes, write_json
from extract.video import Image

NEEDED = ("onnx", "onnxruntime", "onnxscript")
PACKAGES = ("deepfake-transfer-bench", "numpy", "onnx", "onnxruntime", "scikit-learn", "torch", "xgboost")
DECISION = "score >= threshold is fake (1), below it real (0)"
COMPARISON = "compare the float32 score with threshold_float32"
ROWS = 1024  # scored at a time: an SVC's graph holds rows x support vectors
FACES = 16
FEATURE_TOLERANCE = (
    0.01  # of the largest feature: sums in another order, which a binary network's signs amplify
)


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


def check_installed() -> None:
    """Refuse to export without the extra ``onnx``; `RequestError`."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise RequestError(
            f"Expected the packages that write and run ONNX; {', '.join(missing)} is not installed. "
            'Run pip install -e ".[onnx]".'
        )


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
            "Expected rows to check an exported classifier on; got none. Give it some features."
        )
    session = _session(path)
    stated = session.get_modelmeta().custom_metadata_map
    if float(stated.get("threshold", "nan")) != threshold:
        raise _differs(path, f"states the threshold {stated.get('threshold')}, not {threshold!r}")
    exported = _run(session, "features", X, step=ROWS)
    score = models.score(X)
    excess = np.abs(exported - score) - _tolerance(models, X, score)
    if not (excess <= 0).all():  # so that NaN is refused too
        raise _differs(path, f"scores {np.sum(~(excess <= 0))} of {len(X)} rows otherwise")
    band = single_precision_band(models, X, threshold=threshold)
    return _labels(path, exported, score, band=band, threshold=threshold)


def export_extractor(extractor: Extractor, path: Path, *, faces: Image | None = None) -> float:
    """Write an extractor's network as ``path`` and ``path.json``, and check the file on faces.

    The input side is the network's (`extract.onnx_network.input_side`): 224 unless the suite says otherwise, as
    that of stored faces. Faces of another side are to be resized as `FrozenNetwork.preprocess` does.

    Parameters
    ----------
    faces : (n, s, s, 3) uint8 RGB, optional
        Faces to compare the features of; seeded noise where none are given.

    Returns
    -------
    float
        Largest difference of the features, as a share of the largest feature.

    Raises
    ------
    RequestError
        The extra is missing; a network that torch.onnx cannot export, or whose exported features differ by more
        than `FEATURE_TOLERANCE`. No file is left; ``path.json`` says why.
    """
    check_installed()
    try:
        frozen = _frozen(extractor)
        write_bytes(path, _network_bytes(frozen))
        difference = _feature_difference(frozen, path, faces=faces)
    except RequestError as error:
        remove(path)
        write_json(sidecar(path), {"extractor": extractor.name, "exported": False, "reason": str(error)})
        raise
    write_json(sidecar(path), _describe_extractor(frozen, path) | {"largest_difference": difference})
    return difference


def sidecar(path: Path) -> Path:
    """Name the description beside an ONNX file: ``classifier.onnx`` -> ``classifier.onnx.json``."""
    return path.with_name(f"{path.name}.json")


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


def _tolerance(models: FoldModels, X: Matrix, score: Floats) -> Floats:
    """Bound |exported - score| (n,): the sums' error, and one rounding to float32."""
    error = score_error(models, X)
    return np.asarray(
        error + SINGLE * (np.abs(score) + error) + float(np.finfo(np.float32).smallest_subnormal)
    )


def _labels(path: Path, exported: Any, score: Floats, *, band: Floats, threshold: float) -> Parity:
    differ = (exported >= np.float32(threshold)) != (score >= threshold)
    near = np.abs(score - threshold) <= band
    if (differ & ~near).any():
        raise _differs(path, f"labels {np.sum(differ & ~near)} of {len(score)} rows otherwise")
    largest = float(np.abs(exported - score).max(initial=0))
    return Parity(len(score), largest, float(band.max(initial=0)), int(near.sum()), int(differ.sum()))


def _differs(path: Path, how: str) -> RequestError:
    return RequestError(
        f"Expected an ONNX file that agrees with the models it was made from; {path.name} {how}. "
        "Export it again; if that does not help, use the detector from Python."
    )


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as everywhere: the grid is what runs in parallel
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(session: Any, name: str, rows: npt.NDArray[Any], *, step: int) -> npt.NDArray[np.float32]:
    parts = [session.run(None, {name: rows[i : i + step]})[0] for i in range(0, len(rows), step)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


# -- the extractor -------------------------------------------------------------------------------------------


def _frozen(extractor: Extractor) -> FrozenNetwork:
    if isinstance(extractor, FrozenNetwork):
        return extractor
    raise RequestError(
        f"Expected a network that torch.onnx exports; got {extractor.name} (a plugin, whose code is its own). "
        "Leave out --onnx-extractor, or use the detector from Python."
    )


def _network_bytes(extractor: FrozenNetwork) -> bytes:
    from extract.onnx_network import network_to_onnx

    return network_to_onnx(extractor)


def _feature_difference(extractor: FrozenNetwork, path: Path, *, faces: Image | None) -> float:
    from extract.onnx_network import input_side

    side = input_side(extractor)
    if faces is None:
        faces = np.random.default_rng(0).integers(0, 256, (FACES, side, side, 3), dtype=np.uint8)
    if faces.shape[1] != side:
        raise RequestError(
            f"Expected faces of {side} pixels to check the export on; got {faces.shape[1]}. Resize them."
        )
    try:
        exported = _run(_session(path), "faces", faces, step=FACES)
    except Exception as error:  # onnxruntime's, of many types: an operator that it lacks
        raise _differs(path, f"does not run ({first_line(error)})") from error
    features = extractor(faces)
    difference = float(np.abs(exported - features).max() / np.abs(features).max())
    if not difference <= FEATURE_TOLERANCE:
        raise _differs(path, f"gives features that differ by {difference:.2g} of the largest")
    return difference


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
