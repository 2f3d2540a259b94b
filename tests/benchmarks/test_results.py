import json
import os

import numpy as np
import pandas as pd
import pytest

from benchmarks import results
from benchmarks.judge import Judging, judge
from benchmarks.results import (
    TABLES,
    count,
    finish,
    open_folder,
    purge_results,
    read_run,
    read_unit,
    unit_folder,
    versions,
)
from benchmarks.suite import parse_suite
from classify.calibration import Calibration
from classify.metrics import SELECTION
from classify.models import CLASSIFIERS
from extract.errors import RequestError

REPLICATES = 200  # of the tiny suite
CLASSIFIER_NAMES = ["logistic_regression", "random_forest"]
every_classifier = pytest.mark.parametrize("classifier", CLASSIFIER_NAMES)


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


# -- what lies in the folder ---------------------------------------------------------------------------------


def test_the_folder_holds_the_documented_files_and_no_other(finished):
    common = ["run.json", "suite.toml", "environment.json", "extractors.json", "counts.json"]
    tables = ["faces.parquet", "files.parquet", "audit.csv", "skipped.csv"]
    names = ("configurations", "predictions", "metrics", "estimates", "errors", "replicates")
    unit = ["unit.json", *(f"{name}.parquet" for name in names)]
    units = [f"units/pixels/{classifier}/{name}" for classifier in CLASSIFIER_NAMES for name in unit]
    assert files_of(finished) == sorted([*common, *tables, *units, "DONE", ".lock"])


def test_done_is_the_last_thing_written(finished):
    times = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert times[finished / "DONE"] == max(times.values())
    assert (finished / "DONE").read_bytes() == b""


def test_the_suite_is_the_resolved_one(finished, write_suite, elsewhere, tmp_path):
    suite = parse_suite(finished / "suite.toml")
    assert suite.external.manifest == elsewhere
    assert suite.faces.select == "largest"  # a default, written out
    assert "select" in (finished / "suite.toml").read_text(encoding="utf-8")
    mine = write_suite(tmp_path, external=elsewhere, protocol="component")
    assert suite.model_copy(update={"extractors": mine.extractors}) == mine


def test_the_environment_names_every_version(finished):
    recorded = read(finished / "environment.json")
    assert {"python", "machine", "platform", "numpy", "scikit-learn", "xgboost", "torch"} <= set(recorded)
    assert {key: recorded[key] for key in versions()} == versions()


def test_versions_are_those_that_were_loaded(monkeypatch):
    before = dict(versions())
    monkeypatch.setattr(results, "version", lambda name: "another, installed meanwhile")
    assert versions() == before
    assert {"av", "openvino", "source"} <= set(before)


def test_an_extractor_is_described(finished):
    described = {"title": "Pixel means", "fingerprint": "pixels 1", "weights": "plugin", "source": "plugin"}
    described |= {"backend": "plugin", "precision": "own"}
    assert read(finished / "extractors.json") == {"pixels": described}


def test_there_is_one_line_a_face_with_its_fold(finished):
    faces = pd.read_parquet(finished / "faces.parquet")
    assert {"content", "face", "frame", "x1", "y1", "x2", "y2", "clip", "label", "identity", "fold"} <= set(
        faces
    )
    assert len(faces) == 36
    assert set(faces["fold"]) == {0, 1, 2}
    assert len(faces[["identity", "fold"]].drop_duplicates()) == 9


def test_inputs_that_were_not_used_are_listed_with_the_reason(finished, training):
    skipped = pd.read_csv(finished / "skipped.csv")
    real = training.parent / "real"
    assert skipped["path"].tolist() == [str(real / "copy.png"), str(real / "broken.png")]
    assert skipped["outcome"].tolist() == ["skipped", "skipped"]
    assert skipped["reason"][0] == f"same bytes as {real / 'p0_0.png'}"
    assert skipped["reason"].notna().all()


@every_classifier
def test_every_face_has_one_out_of_fold_score(finished, classifier):
    predictions = pd.read_parquet(unit_folder(finished, "pixels", classifier) / "predictions.parquet")
    faces = pd.read_parquet(finished / "faces.parquet")
    columns = ["content", "face", "clip", "label", "attack", "identity", "source_identity", "fold"]
    assert list(predictions) == [*columns, "score", "data"]
    own = predictions[predictions["data"] == "out-of-fold"]
    pd.testing.assert_frame_equal(own[columns], faces[columns])
    assert np.isfinite(own["score"]).all()


@every_classifier
def test_every_external_face_has_a_score(finished, classifier):
    predictions = pd.read_parquet(unit_folder(finished, "pixels", classifier) / "predictions.parquet")
    external = predictions[predictions["data"] == "external"]
    assert len(external) == 16
    assert (external["fold"] == -1).all()
    assert len(set(external["score"])) > 1


@every_classifier
def test_every_configurations_fold_scores_are_kept(finished, classifier):
    table = pd.read_parquet(unit_folder(finished, "pixels", classifier) / "configurations.parquet")
    assert {"configuration", "fold", "converged", *SELECTION} <= set(table)
    assert len(table) == 2 * 3


@every_classifier
def test_the_metrics_follow_from_the_stored_scores(finished, classifier):
    unit = read_unit(unit_folder(finished, "pixels", classifier))
    scored = dict(list(unit.predictions.groupby("data", sort=False)))
    default = CLASSIFIERS[classifier].default_threshold
    how = Judging(["f1", "youden", "eer"], default, replicates=REPLICATES)
    again = judge(_Found(unit), scored, how=how)
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(again, table), getattr(unit, table), check_exact=True)
    assert (again.deploy, again.unreachable) == (unit.deploy, unit.unreachable)
    assert again.calibration == unit.calibration


class _Found:
    def __init__(self, unit):
        self.best, self.converged, self.nested = unit.best, unit.converged, None


def test_the_selected_parameters_may_be_none(finished):
    best = read(unit_folder(finished, "pixels", "random_forest") / "unit.json")["best"]
    assert set(best) == {"n_estimators", "max_depth"}
    assert best["max_depth"] in (None, 2)


def test_every_file_is_counted_with_the_faces_that_it_gave(finished, training):
    files = read_run(finished).files
    assert list(files) == ["content", "clip", "label", "attack", "split", "data", "faces", "people"]
    assert files["data"].value_counts().to_dict() == {"own": 37, "external": 16}
    assert files["faces"].value_counts().to_dict() == {1: 52, 0: 1}
    assert files[files["faces"] == 0]["clip"].tolist() == ["broken"]
    assert (files["people"] == files["faces"]).all()


def test_what_decodes_is_recorded():
    assert {"av", "pillow", "opencv-python"} <= set(versions())


def test_calibrations_and_thresholds_read_back_as_they_were_fitted(finished):
    for unit in read_run(finished).units.values():
        assert {level: type(c) for level, c in unit.calibration.items()} == {
            "image": Calibration,
            "video": Calibration,
        }
        assert unit.unreachable == {"image": {}, "video": {}}


def test_a_threshold_that_cannot_be_met_reads_back_as_none(results):
    path = unit_folder(results, "pixels", "random_forest") / "unit.json"
    record = read(path)
    record["deploy"]["image"]["fpr<=0"], record["unreachable"]["image"] = None, {"fpr<=0": "why"}
    path.write_text(json.dumps(record), encoding="utf-8")
    unit = read_unit(path.parent)
    assert unit.deploy["image"]["fpr<=0"] is None
    assert unit.unreachable["image"] == {"fpr<=0": "why"}


# -- reading -------------------------------------------------------------------------------------------------


def test_a_finished_run_reads_back_in_the_suites_order(finished):
    run = read_run(finished)
    assert list(run.units) == [("pixels", classifier) for classifier in CLASSIFIER_NAMES]
    assert (run.folder, run.suite.name, len(run.faces), len(run.skipped)) == (finished, "tiny", 36, 2)
    assert run.audit["fold"].tolist() == [1, 2, 3]
    assert run.counts == count(run.faces)
    unit = run.units[("pixels", "logistic_regression")]
    assert set(unit.best) == {"C"}
    assert unit.converged is True
    assert set(unit.deploy) == {"image", "video"}
    assert set(unit.deploy["image"]) == {"f1", "youden", "eer"}


def test_an_unfinished_run_is_refused(results):
    (results / "DONE").unlink()
    with pytest.raises(
        RequestError, match=r"Expected a finished run; .* has no DONE mark. Run the same command"
    ):
        read_run(results)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"Expected a results folder; .* has no run.json. Check the path."):
        read_run(tmp_path)


def test_a_run_whose_plugin_is_gone_still_reads(results):
    text = (results / "suite.toml").read_text(encoding="utf-8")
    (results / "suite.toml").write_text(text.replace("pixels.py", "gone.py"), encoding="utf-8")
    assert len(read_run(results).units) == 2


# -- what a table's notes say of the data --------------------------------------------------------------------


def test_tested_faces_and_clips_are_counted():
    faces = pd.DataFrame(
        [
            ("a", 0, "ann", 0),
            ("a", 0, "ann", 0),
            ("b", 1, "ann", 1),
            ("c", 1, "bob", -1),
            ("d", 0, "", 1),
            ("e", 0, "", -1),
        ],
        columns=["clip", "label", "identity", "fold"],
    )
    assert count(faces) == {
        "faces": 4,
        "fake_faces": 1,
        "clips": 3,
        "fake_clips": 1,
        "other_faces": 2,
        "other_clips": 2,
        "identities": 2,
        "unknown": 2,
    }


# -- claiming a folder ---------------------------------------------------------------------------------------


def test_a_new_or_empty_folder_is_claimed(tmp_path):
    open_folder(tmp_path / "new" / "deep", "key")
    open_folder(tmp_path / "new" / "deep", "key")
    assert files_of(tmp_path) == ["new/deep/run.json"]


def test_another_key_is_refused_and_nothing_changes(tmp_path):
    open_folder(tmp_path, "key")
    with pytest.raises(RequestError, match="holds a run of other data, settings, weights or versions"):
        open_folder(tmp_path, "other")
    open_folder(tmp_path, "key")


def test_foreign_files_are_refused_and_stay(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(
        RequestError, match=r"Expected an empty folder or this run's own; .* holds other files"
    ):
        open_folder(tmp_path, "key")
    assert files_of(tmp_path) == ["thesis.tex"]


def test_a_leftover_of_a_killed_writer_is_no_foreign_file(tmp_path):
    (tmp_path / ".tmp-0123").write_bytes(b"{")
    open_folder(tmp_path, "key")
    assert read(tmp_path / "run.json") == {"key": "key"}


def test_finishing_drops_scratch_and_leftovers(tmp_path):
    (tmp_path / "scratch" / "svc-1").mkdir(parents=True)
    (tmp_path / "units").mkdir()
    for leftover in (
        tmp_path / ".tmp-1",
        tmp_path / "units" / ".tmp-2",
        tmp_path / "scratch" / "svc-1" / "x",
    ):
        leftover.write_bytes(b"half")
    finish(tmp_path)
    assert files_of(tmp_path) == ["DONE"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(RequestError, match="out"):
        open_folder(tmp_path / "out", "key")


# -- the right to be forgotten -------------------------------------------------------------------------------


@pytest.fixture
def face(finished):
    """Return path and content of p0's first real image, which copy.png repeats."""
    faces = pd.read_parquet(finished / "faces.parquet")
    return next(row for row in faces.itertuples() if row.path.endswith("real/p0_0.png"))


def mentions(folder, *words):
    """Return the files in which a word stands, in any table."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        table = (
            pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else path.read_text(encoding="utf-8")
        )
        found += [path.name for word in words if word in table]
    return found


def test_purging_removes_every_line_about_a_content(results, face):
    assert mentions(results, face.content) == ["faces.parquet", "files.parquet"] + 2 * ["predictions.parquet"]
    deleted = purge_results(results, [face.content], results / face.path)
    # the face, the file, a score from each classifier, and the note that copy.png repeats it
    assert deleted == 1 + 1 + 2 + 1
    assert mentions(results, face.content, face.path) == []


def test_purging_leaves_every_other_line(results, finished, face):
    purge_results(results, [face.content], results / face.path)
    for name in ("faces.parquet", "files.parquet", "units/pixels/random_forest/predictions.parquet"):
        before, after = pd.read_parquet(finished / name), pd.read_parquet(results / name)
        kept = before[before["content"] != face.content].reset_index(drop=True)
        pd.testing.assert_frame_equal(after, kept)
    assert len(pd.read_csv(results / "skipped.csv")) == 1


def test_purging_leaves_the_figures_of_the_tables(results, finished, face):
    purge_results(results, [face.content], results / face.path)
    after, before = read_run(results), read_run(finished)
    for key, unit in before.units.items():
        for table in ("metrics", "estimates", "errors", "replicates"):
            pd.testing.assert_frame_equal(getattr(after.units[key], table), getattr(unit, table))
        assert after.units[key].deploy == unit.deploy


def test_purging_removes_external_lines(results):
    predictions = pd.read_parquet(results / "units/pixels/random_forest/predictions.parquet")
    content = predictions.query("data == 'external'")["content"].iloc[0]
    assert purge_results(results, [content], results / "unknown") == 1 + 2  # the file, and two scores
    assert mentions(results, content) == []


def test_purging_removes_the_line_about_a_skipped_file(results, training):
    path = training.parent / "real" / "broken.png"
    assert purge_results(results, ["0" * 64], path) == 1
    assert mentions(results, str(path)) == []


def test_purging_what_is_not_there_changes_nothing(results):
    before = {path: path.read_bytes() for path in results.rglob("*.parquet")}
    assert purge_results(results, ["0" * 64], results / "unknown") == 0
    assert {path: path.read_bytes() for path in results.rglob("*.parquet")} == before


def test_purging_with_nothing_skipped_works(results, face):
    (results / "skipped.csv").write_text("path,outcome,reason\n", encoding="utf-8")
    assert purge_results(results, [face.content], results / face.path) == 1 + 1 + 2
    assert len(read_run(results).skipped) == 0


def test_purging_reaches_an_unfinished_unit(results, face):
    (results / "DONE").unlink()
    (results / "scratch").mkdir()
    os.rename(results / "units/pixels/random_forest", results / "scratch/random_forest-1")
    purge_results(results, [face.content], results / face.path)
    assert mentions(results, face.content) == []


def test_purging_reaches_what_a_killed_writer_left(results, face):
    os.rename(results / "faces.parquet", results / ".tmp-0123")
    purge_results(results, [face.content], results / face.path)
    left = results / ".tmp-0123"
    assert not left.exists() or face.content not in pd.read_parquet(left)["content"].tolist()
