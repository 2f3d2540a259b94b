import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import detector as detectors
from benchmarks.detector import Detector
from benchmarks.detector_boosted import Expected
from benchmarks.detector_export import export_detector
from benchmarks.detector_files import MAIN, file_digest, to_bytes
from benchmarks.detector_models import read_model, write_model
from benchmarks.machine import Machine
from benchmarks.results import read_run
from benchmarks.runner import run
from classify.models import CLASSIFIERS, installed
from classify.thresholds import tune_threshold
from extract import media
from extract.errors import RequestError
from extract.extractors import ExtractorSettings, load_extractor
from extract.faces import Detection
from extract.store import Store
from extract.weights import WeightSettings

ROOT = Path(__file__).resolve().parents[2]
GRIDS = {  # beside those of the tiny suite
    "svc": "C = [1.0]\n",
    "xgboost": "n_estimators = [5]\nmax_depth = [2]\n",
    "svc_onedal": "C = [1.0]\n",
    "random_forest_onedal": "n_estimators = [3]\n",
}
MORE = "".join(f"[classifiers.{name}]\n{grid}" for name, grid in GRIDS.items() if name in installed())


def plugin_of(results):
    return read_run(results).suite.extractors[0].name


def load_plugin(results):
    return load_extractor(ExtractorSettings(name=plugin_of(results)), weights=WeightSettings())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("detectors")


@pytest.fixture(scope="module")
def source(home, write_suite, elsewhere):
    """Return the results of a run of every classifier, with external data; its cache is beside it."""
    suite = write_suite(home, external=elsewhere, protocol="component", sections=MORE)
    assert set(suite.classifiers) == set(installed())
    return run(suite, machine=Machine(Store(home / "cache")), out=home / "out")


@pytest.fixture(scope="module")
def store(source):
    return Machine(Store(source.parent / "cache"))


@pytest.fixture
def export(source, store, tmp_path):
    """Export a detector of the source run; returns its folder, digest and what was said."""

    def call(name="detector", *, results=source, machine=store, **options):
        options = {
            "extractor": "pixels",
            "classifier": "logistic_regression",
            "rule": "f1",
            "level": "image",
            **options,
        }
        said = []
        machine = Machine(machine.store, say=said.append)
        digest = export_detector(results, machine=machine, out=tmp_path / name, **options)
        return tmp_path / name, digest, said

    return call


@pytest.fixture
def extractor(source):
    return load_plugin(source)


def record_of(folder):
    return json.loads((folder / MAIN).read_text(encoding="utf-8"))


def external_files(elsewhere):
    table = pd.read_csv(elsewhere)
    return [elsewhere.parent / path for path in table["path"]]


# -- models ------------------------------------------------------------------------------------------------------

VARIANTS = [
    ("logistic_regression", {}),
    ("logistic_regression", {"C": 1}),
    ("svc", {}),
    ("svc", {"C": 2.0, "kernel": "poly", "gamma": 0.1}),
    ("svc", {"kernel": "linear", "gamma": "auto"}),
    ("random_forest", {"n_estimators": 3, "max_depth": None, "max_features": None}),
    ("random_forest", {"n_estimators": 3, "max_depth": 2, "min_samples_leaf": 2, "max_features": 0.5}),
    ("xgboost", {"n_estimators": 4}),
    ("xgboost", {"n_estimators": 4, "max_depth": 2, "learning_rate": 0.3, "colsample_bytree": 0.5}),
    ("svc_onedal", {"C": 2.0}),
    ("random_forest_onedal", {"n_estimators": 3, "min_samples_leaf": 2}),
]
VARIANTS = [(name, params) for name, params in VARIANTS if name in installed()]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 6)).astype(np.float32)
    return X, (X[:, 0] + rng.normal(size=80) > 0).astype(int)


@pytest.mark.parametrize(("classifier", "params"), VARIANTS)
def test_a_model_that_is_read_gives_the_same_bits(classifier, params, rows):
    X, y = rows
    kind = CLASSIFIERS[classifier]
    fitted = kind.build(params, 3).fit(X, y)
    read = read_model(write_model(fitted, classifier=classifier), Expected(classifier, params, 3, 6))
    assert np.array_equal(kind.score(fitted, X), kind.score(read, X))


def test_every_classifier_can_be_exported():
    assert {classifier for classifier, _ in VARIANTS} == set(installed())


@pytest.mark.parametrize(("classifier", "params"), VARIANTS[::2])
def test_a_model_of_other_features_or_parameters_is_refused(classifier, params, rows):
    X, y = rows
    data = write_model(CLASSIFIERS[classifier].build(params, 3).fit(X, y), classifier=classifier)
    with pytest.raises(ValueError, match="it holds"):
        read_model(data, Expected(classifier, params, 3, 7))
    other = {"n_estimators": 9} if "n_estimators" in CLASSIFIERS[classifier].parameters else {"C": 9.0}
    with pytest.raises(ValueError, match="it holds"):
        read_model(data, Expected(classifier, {**params, **other}, 3, 6))


# -- export and load -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", installed())
def test_a_detector_scores_new_faces_as_the_run_did(export, extractor, source, elsewhere, classifier):
    folder, digest, _ = export(classifier=classifier)
    detector = Detector.load(folder, digest=digest, extractor=extractor)
    unit = read_run(source).units[("pixels", classifier)]
    stored = unit.predictions[unit.predictions["data"] == "external"].set_index("content")["score"]
    files = external_files(elsewhere)
    found = list(detector.predict(files))
    wanted = [stored[file_digest(path.read_bytes())] for path in files]
    np.testing.assert_allclose([p.score for p in found], wanted, rtol=0, atol=1e-12)
    assert [p.verdict for p in found] == [
        "fake" if s >= unit.deploy["image"]["f1"] else "real" for s in wanted
    ]
    assert {p.threshold for p in found} == {unit.deploy["image"]["f1"]}
    assert detector.deviation == 0


@pytest.mark.slow
def test_another_process_gives_the_same_scores(export, extractor, source, elsewhere):
    folder, digest, _ = export(classifier="random_forest")
    files = [str(path) for path in external_files(elsewhere)]
    script = (
        "import json, sys\n"
        "from benchmarks.detector import Detector\n"
        "from extract.extractors import ExtractorSettings, load_extractor\n"
        "from extract.weights import WeightSettings\n"
        "folder, digest, plugin, *files = sys.argv[1:]\n"
        "extractor = load_extractor(ExtractorSettings(name=plugin), weights=WeightSettings())\n"
        "detector = Detector.load(folder, digest=digest, extractor=extractor)\n"
        "print(json.dumps([p.to_dict() for p in detector.predict(files)]))\n"
    )
    words = [sys.executable, "-c", script, str(folder), digest, plugin_of(source), *files]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = Detector.load(folder, extractor=extractor).predict(files)
    assert json.loads(done.stdout) == json.loads(json.dumps([p.to_dict() for p in here]))


def test_the_folder_holds_no_pickle_and_nobodys_name(export, training):
    folder, digest, _ = export(level="video", rule="eer")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == [
        "card.md",
        "detector.json",
        *(f"models/fold-{n}.skops" for n in range(3)),
        *(f"reference/face-{n}.png" for n in range(4)),
        "reference/features.npy",
        "reference/scores.npy",
    ]
    assert digest == file_digest((folder / MAIN).read_bytes())
    told = (folder / MAIN).read_text() + (folder / "card.md").read_text()
    assert str(training.parent) not in told
    assert "real-p0" not in told
    assert '"p0"' not in told
    assert list(folder.parent.iterdir()) == [folder]


def test_thresholds_are_chosen_at_the_level_asked_for(export, source):
    unit = read_run(source).units[("pixels", "logistic_regression")]
    for level in ("image", "video"):
        folder, _, _ = export(level, level=level, rule="youden")
        assert record_of(folder)["threshold"] == unit.deploy[level]["youden"]
        assert record_of(folder)["level"] == level
    folder, _, _ = export("own", rule="default", classifier="random_forest")
    assert record_of(folder)["threshold"] == np.nextafter(0.5, 1)


def test_figures_at_the_threshold_are_those_of_the_run_with_their_intervals(export, source):
    folder, _, _ = export(rule="f1")
    unit = read_run(source).units[("pixels", "logistic_regression")]
    mine = unit.estimates.query("level == 'image' and rule == 'f1'").set_index(["data", "metric"])
    lines = record_of(folder)["metrics"]
    assert {line["data"] for line in lines} == {"out-of-fold"} | set(mine.index.unique("data")) - {"test"}
    for line in lines:
        figure = mine.loc[(line["data"], line["metric"])]
        assert (line["estimate"], line["people"]) == (figure["estimate"], figure["people"])
        assert [line["low"], line["high"]] == pytest.approx(figure[["low", "high"]].tolist())


def test_a_rule_that_the_run_did_not_have_is_judged_at_export(export):
    folder, _, _ = export(rule="recall>=0.5")
    record = record_of(folder)
    assert record["rule"] == "recall>=0.5"
    assert {line["metric"] for line in record["metrics"]} >= {"recall", "apcer", "bpcer"}


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_probabilities_rise_with_scores(export, extractor, elsewhere, method):
    folder, _, _ = export(calibration=method)
    found = list(Detector.load(folder, extractor=extractor).predict(external_files(elsewhere)))
    by_score = sorted(found, key=lambda p: p.score)
    probabilities = [p.probability for p in by_score]
    assert all(0 <= p <= 1 for p in probabilities)
    assert probabilities == sorted(probabilities)
    assert len(set(probabilities)) > 1


def test_a_refit_is_one_model_and_says_that_its_threshold_is_approximate(export, extractor):
    folder, _, said = export(refit=True)
    assert [path.name for path in (folder / "models").iterdir()] == ["fold-0.skops"]
    assert any("approximate" in line for line in said)
    assert "APPROXIMATE THRESHOLD" in (folder / "card.md").read_text()
    assert record_of(folder)["classifier"]["refit"]
    heard = []
    Detector.load(folder, extractor=extractor, say=heard.append)
    assert any("approximate" in line for line in heard)
    plain, _, said = export("plain")
    assert "APPROXIMATE" not in (plain / "card.md").read_text()
    assert not said


def test_under_a_given_split_the_test_part_trains_nothing(write_suite, swaps, tmp_path, export):
    suite = write_suite(tmp_path, data=swaps, protocol="official")
    machine = Machine(Store(tmp_path / "cache"))
    results = run(suite, machine=machine, out=tmp_path / "results")
    found = Detector.load(export(results=results, machine=machine)[0], extractor=load_plugin(results))
    unit = read_run(results).units[("pixels", "logistic_regression")]
    assert found.record.threshold == unit.deploy["image"]["f1"]
    assert {line["data"] for line in record_of(tmp_path / "detector")["metrics"]} == {"test"} | (
        {"validation"} if found.record.classifier.models > 1 else set()
    )
    refitted = export("refitted", results=results, machine=machine, refit=True)[0]
    model = Detector.load(refitted, extractor=load_plugin(results)).models.models[0]
    faces = read_run(results).faces
    trained = faces["split"].isin(["train", "val"]).sum()
    assert trained < len(faces)
    assert model.n_features_in_ == 6


def test_features_and_faces_that_the_cache_lacks_are_computed(export, source, tmp_path):
    for classifier in installed():
        _, once, _ = export(f"{classifier}-once", classifier=classifier)
        empty = Machine(Store(tmp_path / f"empty-{classifier}"))
        _, twice, _ = export(f"{classifier}-twice", classifier=classifier, machine=empty)
        assert once == twice


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extractor": "pixel"}, "Did you mean 'pixels'"),
        ({"classifier": "svm"}, "Did you mean 'svc'"),
        ({"rule": "youdn"}, "Did you mean 'youden'"),
        ({"level": "clip"}, "Expected a known level"),
        ({"calibration": "plat"}, "Did you mean 'platt'"),
    ],
)
def test_what_the_run_has_not_is_refused(export, tmp_path, options, words):
    with pytest.raises(RequestError, match=words):
        export(**options)
    assert not (tmp_path / "detector").exists()


def test_a_folder_with_other_things_is_left_alone(export, tmp_path):
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="new or empty folder"):
        export()


@pytest.fixture
def altered(source, tmp_path):
    return shutil.copytree(source, tmp_path / "altered")


def test_scores_that_are_not_the_models_are_refused(export, altered):
    path = altered / "units" / "pixels" / "svc" / "predictions.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "score"] += 1e-3
    table.to_parquet(path, index=False)
    with pytest.raises(RequestError, match=r"difference of their out-of-fold scores is 0\.001"):
        export(results=altered, classifier="svc")
    table[1:].to_parquet(path, index=False)
    with pytest.raises(RequestError, match="may have been purged"):
        export(results=altered, classifier="svc")


def test_other_folds_are_refused(export, altered):
    table = pd.read_parquet(altered / "faces.parquet")
    table.assign(fold=(table["fold"] + 1) % 3).to_parquet(altered / "faces.parquet", index=False)
    with pytest.raises(RequestError, match="its folds are others"):
        export(results=altered)


def test_clips_that_are_gone_are_refused(export, altered, tmp_path):
    table = pd.read_parquet(altered / "faces.parquet")
    table.assign(path="/gone.png").to_parquet(altered / "faces.parquet", index=False)
    with pytest.raises(RequestError, match=r"/gone.png is in neither. Pass the run's --cache"):
        export(results=altered, machine=Machine(Store(tmp_path / "empty")))


def test_another_extractor_than_the_runs_is_refused(export, altered):
    known = json.loads((altered / "extractors.json").read_text())
    known["pixels"]["fingerprint"] = "other"
    (altered / "extractors.json").write_text(json.dumps(known))
    with pytest.raises(RequestError, match="weights or code are others now"):
        export(results=altered)


class Served:
    """The plugin's extractor, served by another backend that is off by a share of the largest feature."""

    name, backend = "pixels", "other"

    def __init__(self, extractor, off=0.0, fingerprint="pixels 1", precision="bf16"):
        self._extractor, self._off, self.fingerprint, self.dim = extractor, off, fingerprint, extractor.dim
        self.precision = precision

    def __call__(self, faces):
        features = self._extractor(faces)
        return features + np.float32(self._off * np.abs(features).max())


def test_the_fingerprint_is_demanded(export, extractor):
    folder, _, _ = export()
    with pytest.raises(RequestError, match="Expected the extractor pixels with the fingerprint pixels 1"):
        Detector.load(folder, extractor=Served(extractor, fingerprint="pixels 2"))


def test_another_backend_serves_within_the_tolerance_alone(export, extractor, elsewhere):
    folder, _, _ = export()
    near = Detector.load(folder, extractor=Served(extractor, off=0.005, precision="own"))
    assert near.deviation == pytest.approx(0.005, rel=0.01)
    assert len(list(near.predict(external_files(elsewhere)))) == 16
    with pytest.raises(
        RequestError, match=r"within 1% .* got 2.00% with other-own \(exported with plugin-own\)"
    ):
        Detector.load(folder, extractor=Served(extractor, off=0.02, precision="own"))
    with pytest.raises(RequestError, match="Expected features within"):
        Detector.load(folder, extractor=Served(extractor, off=np.nan))


def test_another_precision_serves_within_a_wider_tolerance_and_is_said(export, extractor):
    folder, _, _ = export()
    said = []
    Detector.load(folder, extractor=Served(extractor, off=0.02), say=said.append)
    assert said[0].startswith("Features are computed in bf16, in training they were in own,")
    with pytest.raises(RequestError, match=r"within 5% .* got 6.00% with other-bf16"):
        Detector.load(folder, extractor=Served(extractor, off=0.06))


def test_a_detector_names_no_code_to_run(export, source):
    folder, _, _ = export()
    assert record_of(folder)["extractor"]["settings"]["name"] == "pixels.py"
    with pytest.raises(RequestError, match=r"a detector names no code to run. Pass it: --extractor FILE.py"):
        Detector.load(folder)


def test_a_demanded_digest_refuses_every_other_detector(export, extractor):
    folder, digest, _ = export()
    other, _, _ = export("other", rule="eer")
    assert Detector.load(folder, digest=digest.upper(), extractor=extractor).digest == digest
    with pytest.raises(RequestError, match="Expected the detector with digest"):
        Detector.load(other, digest=digest, extractor=extractor)


def test_other_releases_of_the_face_detector_are_said(export, extractor, monkeypatch):
    folder, _, _ = export()
    monkeypatch.setattr(detectors, "faces_key", lambda settings, **others: "another")
    said = []
    Detector.load(folder, extractor=extractor, say=said.append)
    (line,) = said
    assert "cropped" in line
    assert "OpenCV" in line


def test_another_decoding_revision_is_said_by_itself(export, extractor, monkeypatch):
    folder, _, _ = export()
    revision = media.DECODING
    assert record_of(folder)["decoding"] == revision
    monkeypatch.setattr(media, "DECODING", revision + 7)
    said = []
    assert Detector.load(folder, extractor=extractor, say=said.append).record.decoding == revision
    (line,) = said  # the crops differ by nothing else
    assert re.search(rf"revision {revision + 7}.*revision {revision}\b.*Run the suite again", line)


def test_a_detector_from_before_revisions_were_recorded_is_used_with_a_warning(export, extractor):
    folder, _, _ = export()
    record = record_of(folder)
    new = {"every", "at", "max_pixels", "damaged", "upright"}
    faces = {name: value for name, value in record["faces"].items() if name not in new}
    old = {name: value for name, value in record.items() if name != "decoding"}
    (folder / MAIN).write_bytes(to_bytes({**old, "faces": faces, "faces_key": "none-32-before"}))
    said = []
    detector = Detector.load(folder, extractor=extractor, say=said.append)
    assert detector.record.decoding == 0
    (line,) = said
    assert re.search(rf"revision {media.DECODING}\b.*not recorded", line)


def test_no_folder_is_said(tmp_path):
    with pytest.raises(RequestError, match=r"has no detector.json"):
        Detector.load(tmp_path / "nowhere")


# -- verdicts -------------------------------------------------------------------------------------------------------


def boxes(count):
    """Return a face detector that finds so many faces in every frame."""
    found = [
        Detection(np.array([0, 0, 9 + k, 9], np.float32), 0.99, np.zeros((5, 2), np.float32))
        for k in range(count)
    ]
    return lambda frames: [found for _ in frames]


@pytest.fixture
def with_faces(export, extractor):
    """Load a detector for a level that finds `count` faces, or `select`ed ones, in every frame."""

    def make(count, level="image", select="all"):
        folder, _, _ = export(f"{level}-{count}", level=level)
        detector = Detector.load(folder, extractor=extractor)
        faces = detector.record.faces.__class__(detector="none", size=32, select=select)
        detector = Detector(
            **{**vars(detector), "record": detector.record.model_copy(update={"faces": faces})}
        )
        detector.__dict__["face_detector"] = boxes(count)
        return detector

    return make


def test_a_file_without_a_face_gets_no_verdict(with_faces):
    (found,) = with_faces(0).predict([np.zeros((20, 20, 3), np.uint8)])
    assert (found.verdict, found.score, found.probability, found.faces) == ("no-face", None, None, ())
    assert (found.note, found.code) == ("no usable face in 1 frame", "E_NO_FACE")


@pytest.mark.parametrize("level", ["image", "video"])
def test_several_faces_count_by_their_mean(with_faces, level, rows):
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    (found,) = with_faces(3, level).predict([image])
    assert len(found.faces) == 3
    assert found.score == pytest.approx(np.mean([face.score for face in found.faces]))
    warned = "mean of 3 faces, but the threshold was chosen for single ones"
    assert (warned in found.note) == (level == "image")
    assert found.code == ""


@pytest.mark.parametrize(
    ("select", "words"), [("largest", "largest"), ("track", "longest"), ("all", "all are used|which are all")]
)
def test_several_people_are_said_with_those_that_are_used(with_faces, select, words):
    (found,) = with_faces(3, select=select).predict([np.zeros((20, 20, 3), np.uint8)])
    assert re.search(rf"up to 3 faces in a frame; .*({words})", found.note)
    assert len(found.faces) == (3 if select == "all" else 1)


def test_one_person_is_not_worth_a_word(with_faces):
    (found,) = with_faces(1).predict([np.zeros((20, 20, 3), np.uint8)])
    assert "in a frame" not in found.note


def test_poor_faces_are_said_with_their_numbers(with_faces):
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    (one,) = with_faces(1).predict([image])
    (face,) = one.faces
    assert (face.size, face.outside, face.turned) == (9, 0, 0)
    assert face.note.startswith("small: 9 pixels")
    assert face.note in one.note
    (several,) = with_faces(3).predict([image])
    assert [face.size for face in several.faces] == [9, 10, 11]
    assert "small: 3 of 3 faces" in several.note


def test_files_pictures_and_broken_files_come_in_order(export, extractor, elsewhere, tmp_path):
    folder, _, _ = export()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = external_files(elsewhere)[:3]
    found = list(
        Detector.load(folder, extractor=extractor).predict(
            [files[0], broken, np.zeros((20, 20, 3), np.uint8), files[1], str(files[2])]
        )
    )
    assert [p.name for p in found] == [str(files[0]), str(broken), "image 2", str(files[1]), str(files[2])]
    assert [p.verdict == "unreadable" for p in found] == [False, True, False, False, False]
    assert [p.code for p in found] == ["", "E_CLIP_UNREADABLE", "", "", ""]


def test_the_threshold_is_that_of_the_rule(export, source):
    folder, _, _ = export(rule="eer", level="video")
    run_read = read_run(source)
    own = run_read.units[("pixels", "logistic_regression")].predictions.query("data == 'out-of-fold'")
    clips = own.groupby(["clip", "fold"], as_index=False).agg({"label": "first", "score": "mean"})
    wanted = tune_threshold(clips["label"].to_numpy(), clips["score"].to_numpy(), rule="eer").value
    assert record_of(folder)["threshold"] == wanted
