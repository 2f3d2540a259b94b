"""The deployable: face settings, extractor, fitted classifiers and a threshold, in one folder.

detector = Detector.load("detector", digest="...")
for prediction in detector.predict(["clip.mp4", "photo.jpg"]):
print(prediction.name, prediction.verdict, prediction.score)
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.detector_boosted import Expected
from benchmarks.detector_files import (
    REFERENCE,
    ExtractorRecord,
    Record,
    intact,
    png_size,
    read_array,
    read_folder,
    reference_name,
)
from benchmarks.detector_models import model_suffix, read_model
from benchmarks.machine import Say, silent
from benchmarks.predict import FaceScore, Input, Looked, Prediction, Verdict, predict
from classify.aggregate import combiner
from classify.calibration import Calibration
from classify.fitting import FoldModels
from classify.metrics import Floats
from classify.models import check_grid
from extract import media
from extract.compute import ComputeSettings, UnavailableError, as_recorded
from extract.errors import RequestError
from extract.extractor_settings import is_plugin_file
from extract.extractors import Extractor, backend_of, load_extractor
from extract.faces import FaceDetector, face_detector, faces_key
from extract.faces.quality import Quality, say_faults, say_no_face
from extract.media.frames import Image
from extract.weights import WeightSettings

FEATURE_TOLERANCE = (
    0.01  # of the largest reference feature: what another backend, precision or processor may differ by
)
HALF_TOLERANCE = (
    0.05  # likewise between float32 and a half precision: a cosine similarity of 0.999 is 4.5 % in length
)
NO_FACE = "E_NO_FACE"
USED = {  # what a prediction says of several people, by `FaceSettings.select`
    "largest": "the largest is used",
    "track": "the person seen longest is used",
    "all": "all are used",
}
SCORE_TOLERANCE = 1e-6  # of the largest reference score: the same models on the same features, on any machine


@dataclass(frozen=True)
class Detector:
    """A detector, loaded and tested.

    Attributes
    ----------
    record : Record
        What detector.json says.
    digest : str
        SHA-256 of detector.json, which holds those of all other files.
    extractor : Extractor
    models : FoldModels
    calibration : Calibration, optional
    deviation : float
        How far the reference faces' features are from those at export, as a share of the largest feature: the median
        over faces of the largest difference.
    """

    record: Record
    digest: str
    extractor: Extractor
    models: FoldModels
    calibration: Calibration | None
    deviation: float

    @staticmethod
    def load(
        folder: str | Path,
        *,
        digest: str | None = None,
        weights: Path | None = None,
        extractor: Extractor | None = None,
        say: Say = silent,
    ) -> "Detector":
        """Read a detector's folder, check all of it, and try it on its reference faces.

        Parameters
        ----------
        digest : str, optional
            The digest that was printed when the detector was exported. Without it a folder is accepted that anyone
            may have written: the digests inside protect against damage alone.
        weights : Path, optional
            Directory of weights, see `WeightSettings`.
        extractor : Extractor, optional
            In the place of the one that the detector names: a plugin file's, or the same network on another backend.
        say : callable
            Takes lines for the user.

        Raises
        ------
        RequestError
            Not a detector, damaged, not the one demanded, another extractor, no weights, or features beyond
            `FEATURE_TOLERANCE`.
        """
        record, files, found = read_folder(Path(folder), demanded=digest)
        with intact("contents that do not fit together"):
            models = _read_models(record, files)
            calibration = _read_calibration(record)
            reference = _read_reference(record, files)
            _check_scores(models, reference, calibration, record=record)
        with intact("reference faces on which its extractor fails"):
            extractor = extractor or _load_extractor(record.extractor, weights)
            _check_extractor(extractor, record.extractor)
            deviation = _deviation(extractor, reference)
        _judge_deviation(deviation, extractor, record)
        _say_doubts(record, backend_of(extractor), say)
        return Detector(record, found, extractor, models, calibration, deviation)

    @functools.cached_property
    def face_detector(self) -> FaceDetector:
        """What finds the faces; built when first needed."""
        return face_detector(self.record.faces)

    def score(self, crops: Image) -> Floats:
        """Score (n, s, s, 3) uint8 RGB crops: (n,) float64, higher = more likely fake."""
        features = self.extractor(crops)
        if features.shape != (len(crops), self.record.extractor.dim) or not np.isfinite(features).all():
            raise ValueError(
                f"Expected finite features of {self.extractor.name}; got {features.shape}, or NaN."
            )
        return self.models.score(features)

    def predict(self, inputs: Iterable[Input]) -> Iterator[Prediction]:
        """Predict files (images, videos) and pictures (h, w, 3) uint8 RGB, one after another as they come.

        A generator: inputs are taken when predictions are asked for, predictions come in the order of the inputs,
        and memory does not grow with their number. Single images share the extractor's batches.

        Yields
        ------
        Prediction

        Raises
        ------
        RequestError
            An input that is neither a path nor a picture. Files that cannot be read get the verdict ``unreadable``.
        """
        return predict(
            inputs,
            settings=self.record.faces,
            find=self.face_detector,
            score=self.score,
            judge=self._judge,
        )

    def _judge(self, looked: Looked, scores: Floats) -> Prediction:
        threshold = self.record.threshold
        if looked.error:
            return Prediction(looked.name, "unreadable", None, None, threshold, (), looked.error, looked.code)
        if not len(scores):
            note = say_no_face(looked.faces.searched, looked.faces.note)
            return Prediction(looked.name, "no-face", None, None, threshold, (), note, NO_FACE)
        score = combiner(self.record.aggregate)(scores)
        probability = (
            float(self.calibration(np.array([score]), prior=self.record.prior)[0])
            if self.calibration
            else None
        )
        verdict: Verdict = "fake" if score >= threshold else "real"
        faces = tuple(_face_scores(looked, scores))
        code = "E_CLIP_PARTIAL" if looked.faces.note else ""
        return Prediction(
            looked.name, verdict, score, probability, threshold, faces, self._note(looked), code
        )

    def _note(self, looked: Looked) -> str:
        alone = self.record.level == "image" and looked.count > 1
        pooled = (
            f"{self.record.aggregate} of {looked.count} faces, but the threshold was chosen for single ones"
        )
        poor = say_faults(list(_qualities(looked)))
        notes = (looked.faces.note, self._say_people(looked), poor, pooled if alone else "")
        return "; ".join(note for note in notes if note)

    def _say_people(self, looked: Looked) -> str:
        """Say whose faces were used, where a frame shows several people."""
        if looked.faces.people < 2:
            return ""
        return f"up to {looked.faces.people} faces in a frame; {USED[self.record.faces.select]}"


def _face_scores(looked: Looked, scores: Floats) -> Iterator[FaceScore]:
    faces = looked.faces
    columns = (faces.frames, faces.boxes, faces.confidences, scores, faces.turned)
    rows = zip(*(column.tolist() for column in columns), _qualities(looked), strict=True)
    for frame, box, confidence, score, turned, quality in rows:
        note = ", ".join(quality.faults.values())
        yield FaceScore(frame, tuple(box), confidence, score, **vars(quality), turned=turned, note=note)


def _qualities(looked: Looked) -> Iterator[Quality]:
    faces = looked.faces
    columns = (faces.sizes, faces.sharpness, faces.outside)
    return (Quality(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


@dataclass(frozen=True)
class _Reference:
    """Faces (n, s, s, 3) uint8, their features (n, d) float32 and scores (n,) float64 at export."""

    faces: Image
    features: npt.NDArray[np.float32]
    scores: Floats


def _read_models(record: Record, files: Mapping[str, bytes]) -> FoldModels:
    kind = record.classifier
    check_grid(kind.name, {name: [value] for name, value in kind.parameters.items()})
    expected = Expected(kind.name, kind.parameters, kind.seed, record.extractor.dim)
    models = []
    for name in (f"models/fold-{number}{model_suffix(kind.name)}" for number in range(kind.models)):
        with intact(name):
            models.append(read_model(files[name], expected))
    return FoldModels(kind.name, tuple(models))


def _read_calibration(record: Record) -> Calibration | None:
    if record.calibration is None:
        return None
    with intact("its calibration"):
        return Calibration.from_dict(record.calibration)


def _read_reference(record: Record, files: Mapping[str, bytes]) -> _Reference:
    side, dim = record.faces.size, record.extractor.dim
    with intact("its reference faces"):
        pictures = [_read_png(files[reference_name(number)], side) for number in range(REFERENCE)]
        features = read_array(files["reference/features.npy"], shape=(REFERENCE, dim), dtype=np.float32)
        scores = read_array(files["reference/scores.npy"], shape=(REFERENCE,), dtype=np.float64)
    return _Reference(np.stack(pictures), features, scores)


def _read_png(data: bytes, side: int) -> Image:
    if png_size(data) != (side, side):
        raise ValueError("a picture of another size")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None or picture.shape != (side, side, 3) or picture.dtype != np.uint8:
        raise ValueError("a picture that cannot be decoded")
    return picture.astype(np.uint8, copy=False)


def _check_scores(
    models: FoldModels, reference: _Reference, calibration: Calibration | None, *, record: Record
) -> None:
    """Check that the models score the stored features as they did: other packages, other bits, other models."""
    combiner(record.aggregate)(reference.scores)
    with intact("models that cannot score"):
        scores = models.score(reference.features)
        scale = max(1.0, float(np.abs(reference.scores).max()))
        if (
            scores.shape != (REFERENCE,)
            or not np.abs(scores - reference.scores).max() <= SCORE_TOLERANCE * scale
        ):
            raise ValueError("they score the reference faces otherwise than when they were exported")
        probability = calibration(scores, prior=record.prior) if calibration else np.zeros(REFERENCE)
        if not ((probability >= 0) & (probability <= 1)).all():
            raise ValueError("their calibration gives no probability")


def _load_extractor(record: ExtractorRecord, weights: Path | None) -> Extractor:
    if is_plugin_file(record.settings.name):
        raise RequestError(
            f"Expected the extractor of this detector, the plugin {record.settings.name}; a detector names no code to "
            "run. Pass it: --extractor FILE.py."
        )
    source = WeightSettings(
        directory=weights, policy="random" if record.weights == "random" else "required", seed=record.seed
    )
    compute = as_recorded(record.backend, record.precision)
    try:
        return load_extractor(record.settings, weights=source, compute=compute)
    except UnavailableError:  # another machine: float32 is on all of them, and the reference faces tell
        return load_extractor(record.settings, weights=source, compute=ComputeSettings(precision="fp32"))


def _check_extractor(extractor: Extractor, record: ExtractorRecord) -> None:
    if extractor.fingerprint != record.fingerprint:
        raise RequestError(
            f"Expected the extractor {record.name} with the fingerprint {record.fingerprint[:16]} ({record.weights} "
            f"weights: {record.source}); got {extractor.fingerprint[:16]}. Pass the same weights with --weights, and "
            "install the same releases."
        )
    if extractor.dim != record.dim:
        raise ValueError(f"an extractor of {extractor.dim} features in place of {record.dim}")


def _deviation(extractor: Extractor, reference: _Reference) -> float:
    """Return how far the median face's features are from those at export, as a share of the largest feature.

    The median, because a binary network turns last bits into signs: on another processor single faces may differ by
    more, while another network differs on all.
    """
    features = extractor(reference.faces)
    scale = float(np.abs(reference.features).max()) or 1.0
    return float(np.median(np.abs(features - reference.features).max(axis=1))) / scale


def _judge_deviation(deviation: float, extractor: Extractor, record: Record) -> None:
    backend, precision = backend_of(extractor)
    tolerance = FEATURE_TOLERANCE if precision == record.extractor.precision else HALF_TOLERANCE
    if deviation <= tolerance:
        return
    raise RequestError(
        f"Expected features within {tolerance:.0%} of those at export on the reference faces; got "
        f"{deviation:.2%} with {backend}-{precision} (exported with {record.extractor.backend}-"
        f"{record.extractor.precision}). Run the suite with that backend and precision, and export that."
    )


def _say_doubts(record: Record, made: tuple[str, str], say: Say) -> None:
    if made[1] != record.extractor.precision:
        say(
            f"Features are computed in {made[1]}, in training they were in {record.extractor.precision}, which this "
            "machine lacks: scores differ a little. A run with --precision fp32 makes detectors for all machines."
        )
    if record.decoding != media.DECODING:
        say(_other_decoding(record.decoding))
    if record.decoding and record.faces_key != faces_key(record.faces, decoding=record.decoding):
        say(
            "Faces may be cropped otherwise than in training: another release of this program, OpenCV or the face "
            "detector, or a GPU in the place of a processor."
        )
    if record.extractor.weights == "random":
        say("RANDOM WEIGHTS: this detector shows that the program works, not that a face is fake.")
    if record.classifier.refit:
        say("One model, refitted on all data: the threshold, chosen on fold models, is approximate.")


def _other_decoding(revision: int) -> str:
    known = f"revision {revision}" if revision else "an earlier one, which was not recorded"
    return (
        f"Frames are decoded by revision {media.DECODING}; the detector was exported under {known}. Scores may differ. "
        "Run the suite again with this release, and export that."
    )
